#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "tape.h"

namespace nb = nanobind;

namespace inglenook {

namespace {

const char* name_of(OpKind kind) {
  switch (kind) {
    case OpKind::embed: return "embed";
    case OpKind::linear: return "linear";
    case OpKind::rms_norm: return "rms_norm";
    case OpKind::layer_norm: return "layer_norm";
    case OpKind::rope: return "rope";
    case OpKind::attention: return "attention";
    case OpKind::act_mul: return "act_mul";
    case OpKind::act: return "act";
    case OpKind::add: return "add";
    case OpKind::scale: return "scale";
    case OpKind::softcap: return "softcap";
    case OpKind::select_rows: return "select_rows";
    case OpKind::pool: return "pool";
    case OpKind::rope_table: return "rope_table";
    case OpKind::store_kv: return "store_kv";
    case OpKind::prepare: return "prepare";
  }
  return "?";
}

// Of each stage: the names of its operations, and the slots of the weights that they multiply with.
std::vector<std::pair<std::vector<std::string>, std::vector<int32_t>>> stages_of(const Tape& tape) {
  std::vector<std::pair<std::vector<std::string>, std::vector<int32_t>>> stages;
  for (const Stage& stage : tape.plan().stages) {
    auto& [names, slots] = stages.emplace_back();
    for (int32_t i = stage.op_begin; i < stage.op_end; ++i) {
      const Op& op = tape.plan().ops[i];
      names.emplace_back(name_of(op.kind));
      if (op.kind == OpKind::linear) slots.insert(slots.end(), op.weights.begin(), op.weights.end());
    }
  }
  return stages;
}

// By number of tokens: steps, and the seconds of each stage in all of them.
std::map<int64_t, std::pair<int64_t, std::vector<double>>> stage_seconds(const Tape& tape) {
  std::map<int64_t, std::pair<int64_t, std::vector<double>>> result;
  if (tape.profile() == nullptr) return result;
  for (const auto& [num_tokens, sums] : tape.profile()->sums) result[num_tokens] = {sums.num_steps, sums.seconds};
  return result;
}

}  // namespace

void bind_profile(nb::class_<Tape>& tape) {
  tape.def("start_profile", &Tape::start_profile);
  tape.def("stages", stages_of);
  tape.def("stage_seconds", stage_seconds);
}

}  // namespace inglenook
