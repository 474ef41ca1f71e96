#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "bindings.h"
#include "tape.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

using ViewTuple = std::tuple<int32_t, int64_t, int64_t>;  // buffer, offset, width
using IntVector = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntMatrix = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

View to_view(const ViewTuple& t) { return {std::get<0>(t), std::get<1>(t), std::get<2>(t)}; }

Op make_op(OpKind kind, const ViewTuple& out) {
  Op op{kind};
  op.out = to_view(out);
  return op;
}

Isa parse_isa(const std::string& name) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (isa_available(isa) && name == kernel_table(isa).name) return isa;
  throw std::invalid_argument("no such instruction set: " + name);
}

CacheLayout to_cache(int64_t num_blocks, int64_t block_size, int kind) {
  return {num_blocks, block_size, static_cast<CacheKind>(kind)};
}

void record_attention(Program& program, const ViewTuple& out, const ViewTuple& q, const ViewTuple& k,
                      const ViewTuple& v, int64_t num_heads, int64_t num_kv_heads, int64_t head_dim, float scale,
                      int32_t sliding_window, float softcap, int32_t cache, bool is_causal) {
  Op op = make_op(OpKind::attention, out);
  op.x = to_view(q);
  op.y = to_view(k);
  op.z = to_view(v);
  op.index = static_cast<int32_t>(program.layers.size());
  program.layers.push_back({num_heads, num_kv_heads, head_dim, scale, sliding_window, softcap, cache, is_causal});
  program.ops.push_back(op);
}

void record_linear(Program& program, const ViewTuple& out, const ViewTuple& x, const std::vector<int32_t>& weights,
                   const std::vector<int32_t>& biases) {
  Op op = make_op(OpKind::linear, out);
  op.x = to_view(x);
  op.weights = weights;
  op.biases = biases;
  program.ops.push_back(op);
}

void record_rope(Program& program, const ViewTuple& x, int64_t head_dim, int32_t table) {
  Op op = make_op(OpKind::rope, x);
  op.head_dim = head_dim;
  op.index = table;
  program.ops.push_back(op);
}

int32_t add_rope_table(Program& program, const std::vector<double>& frequencies, double scale, bool is_interleaved) {
  program.rope_tables.push_back({frequencies, scale, is_interleaved});
  return static_cast<int32_t>(program.rope_tables.size()) - 1;
}

void bind_program(nb::module_& m) {
  nb::class_<Program>(m, "Program")
      .def(nb::init<>())
      .def_rw("num_weights", &Program::num_weights)
      .def_rw("vocabulary", &Program::vocabulary)
      .def_rw("max_positions", &Program::max_positions)
      .def_rw("num_token_types", &Program::num_token_types)
      .def_rw("needs_whole_sequences", &Program::needs_whole_sequences)
      .def("buffer",
           [](Program& p, int64_t width, bool is_selected) {
             p.buffers.push_back({width, is_selected ? Rows::selected : Rows::tokens});
             return static_cast<int32_t>(p.buffers.size()) - 1;
           })
      .def("rope_table", add_rope_table)
      .def("embed",
           [](Program& p, const ViewTuple& out, int32_t weight, int index, int64_t first_row) {
             Op op = make_op(OpKind::embed, out);
             op.weights = {weight};
             op.index = index;
             op.first_row = first_row;
             p.ops.push_back(op);
           })
      .def("linear", record_linear)
      .def("rms_norm",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, int32_t weight, float eps) {
             Op op = make_op(OpKind::rms_norm, out);
             op.x = to_view(x);
             op.weights = {weight};
             op.factor = eps;
             p.ops.push_back(op);
           })
      .def("layer_norm",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, int32_t weight, int32_t bias, float eps) {
             Op op = make_op(OpKind::layer_norm, out);
             op.x = to_view(x);
             op.weights = {weight};
             op.biases = {bias};
             op.factor = eps;
             p.ops.push_back(op);
           })
      .def("rope", record_rope)
      .def("attention", record_attention)
      .def("act_mul",
           [](Program& p, const ViewTuple& out, const ViewTuple& gate, const ViewTuple& up, int activation) {
             Op op = make_op(OpKind::act_mul, out);
             op.x = to_view(gate);
             op.y = to_view(up);
             op.activation = static_cast<Activation>(activation);
             p.ops.push_back(op);
           })
      .def("act",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, int activation) {
             Op op = make_op(OpKind::act, out);
             op.x = to_view(x);
             op.activation = static_cast<Activation>(activation);
             p.ops.push_back(op);
           })
      .def("add",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, const ViewTuple& y) {
             Op op = make_op(OpKind::add, out);
             op.x = to_view(x);
             op.y = to_view(y);
             p.ops.push_back(op);
           })
      .def("scale",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, float factor) {
             Op op = make_op(OpKind::scale, out);
             op.x = to_view(x);
             op.factor = factor;
             p.ops.push_back(op);
           })
      .def("softcap",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, float cap) {
             Op op = make_op(OpKind::softcap, out);
             op.x = to_view(x);
             op.factor = cap;
             p.ops.push_back(op);
           })
      .def("select_rows",
           [](Program& p, const ViewTuple& out, const ViewTuple& x) {
             Op op = make_op(OpKind::select_rows, out);
             op.x = to_view(x);
             p.ops.push_back(op);
           })
      .def("pool",
           [](Program& p, const ViewTuple& out, const ViewTuple& x, int mode) {
             Op op = make_op(OpKind::pool, out);
             op.x = to_view(x);
             op.pool_mode = static_cast<PoolMode>(mode);
             p.ops.push_back(op);
           })
      .def("set_output", [](Program& p, const ViewTuple& x) { p.output = to_view(x); });
}

nb::ndarray<nb::numpy, const float> run(nb::pointer_and_handle<Tape> self, IntVector token_ids, IntVector positions,
                                        IntVector slot_mapping, IntVector query_starts, IntVector context_lengths,
                                        IntMatrix block_tables, IntVector selected_rows,
                                        std::optional<IntVector> token_type_ids) {
  Step step{};
  step.num_tokens = static_cast<int64_t>(token_ids.size());
  step.num_sequences = static_cast<int64_t>(context_lengths.size());
  step.num_selected = static_cast<int64_t>(selected_rows.size());
  step.max_blocks = static_cast<int64_t>(block_tables.shape(1));
  if (positions.size() != token_ids.size() || slot_mapping.size() != token_ids.size() ||
      query_starts.size() != context_lengths.size() + 1 ||
      (token_type_ids && token_type_ids->size() != token_ids.size()) || block_tables.shape(0) != context_lengths.size())
    throw std::invalid_argument("Bad step: its arrays' lengths don't agree.");
  step.token_ids = token_ids.data();
  step.positions = positions.data();
  step.slot_mapping = slot_mapping.data();
  step.query_starts = query_starts.data();
  step.context_lengths = context_lengths.data();
  step.block_tables = block_tables.data();
  step.selected_rows = selected_rows.data();
  step.token_type_ids = token_type_ids ? token_type_ids->data() : nullptr;
  const float* out;
  {
    nb::gil_scoped_release release;
    out = self.p->run(step);
  }
  const size_t shape[2] = {selected_rows.size(), static_cast<size_t>(self.p->output_width())};
  const int64_t strides[2] = {self.p->output_stride(), 1};
  return nb::ndarray<nb::numpy, const float>(out, 2, shape, self.h, strides);
}

}  // namespace

void bind_tape(nb::module_& m) {
  bind_program(m);
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
      if (isa_available(isa)) names.push_back(kernel_table(isa).name);
    return names;
  });
  // (arena, cache, scratch) in bytes
  m.def("tape_memory", [](const Program& program, int64_t num_blocks, int64_t block_size, int cache_kind,
                          int64_t max_num_tokens, int64_t max_num_selected, int threads) {
    const TapeMemory memory =
        Tape::memory(program, to_cache(num_blocks, block_size, cache_kind), {max_num_tokens, max_num_selected, threads});
    return std::make_tuple(memory.arena, memory.cache, memory.scratch);
  });
  nb::class_<Tape> tape(m, "Tape");
  tape.def(
      "__init__",
      [](Tape* self, const Program& program, int64_t num_blocks, int64_t block_size, int cache_kind,
         int64_t max_num_tokens, int64_t max_num_selected, int threads, const std::string& isa,
         std::shared_ptr<ThreadPool> pool) {
        new (self) Tape(program, to_cache(num_blocks, block_size, cache_kind),
                        {max_num_tokens, max_num_selected, threads}, parse_isa(isa), std::move(pool));
      },
      "program"_a, "num_blocks"_a, "block_size"_a, "cache_kind"_a, "max_num_tokens"_a, "max_num_selected"_a,
      "threads"_a, "isa"_a, "pool"_a = nb::none())
      .def_prop_ro("memory_bytes", &Tape::memory_bytes)
      // Between runs only.
      .def_prop_ro("pool", &Tape::pool)
      .def("set_matrix", &Tape::set_matrix)
      // The array must outlive the tape.
      .def("set_vector", [](Tape& tape, int32_t slot,
                            nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu> values) {
        tape.set_vector(slot, values.data());
      })
      .def("finish", &Tape::finish)
      .def("run", run, "token_ids"_a.noconvert(), "positions"_a.noconvert(), "slot_mapping"_a.noconvert(),
           "query_starts"_a.noconvert(), "context_lengths"_a.noconvert(), "block_tables"_a.noconvert(),
           "selected_rows"_a.noconvert(), "token_type_ids"_a.noconvert() = nb::none())
      .def("copy_blocks", &Tape::copy_blocks, "copies"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("close", &Tape::close, nb::call_guard<nb::gil_scoped_release>());
  bind_profile(tape);
}

}  // namespace inglenook
