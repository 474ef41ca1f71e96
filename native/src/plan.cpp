#include "plan.h"

#include <algorithm>
#include <numeric>

#include "memory.h"

namespace inglenook {

namespace {

// --- fusing: sums into linears, results over operands that nobody reads again ------------------------------------

bool reads(const Op& op, int32_t buffer) {
  return op.x.buffer == buffer || op.y.buffer == buffer || op.z.buffer == buffer ||
         (op.out.buffer == buffer && (op.kind == OpKind::rope || op.accumulate));
}

bool touches(const Op& op, int32_t buffer) { return reads(op, buffer) || op.out.buffer == buffer; }

bool is_whole(const Program& program, const View& view) {
  return view.offset == 0 && view.width == program.buffers[view.buffer].width;
}

bool is_read_after(const Program& program, const std::vector<Op>& ops, size_t index, int32_t buffer) {
  return program.output.buffer == buffer ||
         std::any_of(ops.begin() + index + 1, ops.end(), [&](const Op& op) { return reads(op, buffer); });
}

void rename(Program& program, std::vector<Op>& ops, int32_t from, int32_t to) {
  const auto change = [&](View& view) {
    if (view.buffer == from) view.buffer = to;
  };
  for (Op& op : ops) {
    change(op.out);
    change(op.x);
    change(op.y);
    change(op.z);
  }
  change(program.output);
}

// ops[index] is residual + product. True where the linear that makes `product` can add to `residual` instead.
bool fuse_residual(Program& program, std::vector<Op>& ops, size_t index, const View& residual, const View& product) {
  if (!is_whole(program, residual) || !is_whole(program, product) || residual.buffer == product.buffer) return false;
  if (is_read_after(program, ops, index, residual.buffer) || is_read_after(program, ops, index, product.buffer))
    return false;
  size_t source = index;
  for (size_t i = 0; i < index; ++i) {
    if (!touches(ops[i], product.buffer)) continue;
    if (source != index) return false;  // written or read twice before the sum
    source = i;
  }
  if (source == index || ops[source].kind != OpKind::linear || ops[source].accumulate) return false;
  for (size_t i = source; i < index; ++i)
    if (touches(ops[i], residual.buffer)) return false;
  ops[source].out = residual;
  ops[source].accumulate = true;
  return true;
}

std::vector<Op> fuse(Program& program) {
  std::vector<Op> ops = program.ops;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op op = ops[i];
    if (op.kind == OpKind::add) {
      const bool is_first = fuse_residual(program, ops, i, op.x, op.y);
      if (is_first || fuse_residual(program, ops, i, op.y, op.x)) {
        ops.erase(ops.begin() + i--);
        rename(program, ops, op.out.buffer, is_first ? op.x.buffer : op.y.buffer);
        continue;
      }
    }
    if (op.kind != OpKind::add && op.kind != OpKind::scale && op.kind != OpKind::softcap && op.kind != OpKind::act)
      continue;
    for (const View& operand : {op.x, op.y}) {
      if (operand.buffer < 0 || !is_whole(program, operand)) continue;
      if (is_read_after(program, ops, i, operand.buffer)) continue;
      rename(program, ops, op.out.buffer, operand.buffer);
      break;
    }
  }
  return ops;
}

// Is ops[index] a linear of two weights whose halves the next operation, an act_mul, reads and nobody else does? The
// halves are whole groups of quantised activations, so that what a chunk of tiles gives can be prepared.
bool is_gated(const Program& program, const std::vector<Op>& ops, size_t index) {
  if (index + 1 == ops.size()) return false;
  const Op &linear = ops[index], &act_mul = ops[index + 1];
  if (linear.kind != OpKind::linear || act_mul.kind != OpKind::act_mul || linear.accumulate) return false;
  const auto is_half = [&](const View& view, int64_t offset) {
    return view.buffer == linear.out.buffer && view.offset == offset && 2 * view.width == linear.out.width;
  };
  return linear.weights.size() == 2 && linear.out.width % 64 == 0 && is_whole(program, linear.out) &&
         is_half(act_mul.x, 0) && is_half(act_mul.y, linear.out.width / 2) &&
         !is_read_after(program, ops, index + 1, linear.out.buffer);
}

// --- stages --------------------------------------------------------------------------------------------------------

class StageBuilder {
 public:
  StageBuilder(const Program& program, Plan& plan) : program_(program), plan_(plan) {
    plan_.buffer_blocks.assign(program.buffers.size(), -1);
    plan_.rope_table_blocks.assign(program.rope_tables.size(), -1);
  }

  // A linear and the act_mul that alone reads it. The linear's output is never in memory as a whole: it has no block.
  void add_gated(Op linear, const Op& act_mul) {
    linear.index = prepared_input(linear);
    const int32_t at = static_cast<int32_t>(plan_.ops.size());
    plan_.stages.push_back({StageKind::gated, rows_of(linear), at, at + 2});
    plan_.ops.push_back(linear);
    plan_.ops.push_back(act_mul);
    touch_prepared(linear.index);
    touch(linear.x);
    touch(act_mul.out);
    forget_prepared(act_mul.out.buffer);
  }

  void add(const Op& op) {
    switch (op.kind) {
      case OpKind::linear:
        return add_linear(op);
      case OpKind::attention:
        return add_attention(op);
      case OpKind::rope:
        need_rope_table(op.index);
        break;
      default:
        break;
    }
    add_rowwise(op);
  }

 private:
  Rows rows_of(const Op& op) const { return program_.buffers[op.out.buffer].rows; }

  int32_t new_block(int64_t row_bytes, Rows rows) {
    plan_.blocks.push_back({row_bytes, rows});
    return static_cast<int32_t>(plan_.blocks.size()) - 1;
  }

  // The block lives in the newest stage.
  void touch_block(int32_t block) {
    if (block < 0) return;
    const int32_t stage = static_cast<int32_t>(plan_.stages.size()) - 1;
    if (plan_.blocks[block].first < 0) plan_.blocks[block].first = stage;
    plan_.blocks[block].last = stage;
  }

  void touch(const View& view) {
    if (view.buffer < 0) return;
    const Buffer& buffer = program_.buffers[view.buffer];
    int32_t& block = plan_.buffer_blocks[view.buffer];
    if (block < 0) block = new_block(buffer.width * 4, buffer.rows);
    touch_block(block);
  }

  // A rows stage takes in what follows row by row; a gated one the preparation of its result.
  bool joins(StageKind kind, Rows rows, const Op& op) const {
    if (kind != StageKind::rows || plan_.stages.empty() || plan_.stages.back().rows != rows) return false;
    const StageKind last = plan_.stages.back().kind;
    return last == StageKind::rows || (last == StageKind::gated && plan_.ops.back().kind == OpKind::act_mul &&
                                       op.kind == OpKind::prepare && is_same(op.x, plan_.ops.back().out));
  }

  static bool is_same(const View& a, const View& b) {
    return a.buffer == b.buffer && a.offset == b.offset && a.width == b.width;
  }

  // In a rows stage each range of rows passes through all operations without waiting for the others: none of them may
  // read another range. Selecting rows reads the tokens' rows, which are of an earlier stage by then.
  void append(StageKind kind, Rows rows, const Op& op) {
    const int32_t at = static_cast<int32_t>(plan_.ops.size());
    if (!joins(kind, rows, op)) plan_.stages.push_back({kind, rows, at, at});
    plan_.stages.back().op_end = at + 1;
    plan_.ops.push_back(op);
    for (const View* view : {&op.out, &op.x, &op.y, &op.z}) touch(*view);
    if (op.kind == OpKind::rope || op.kind == OpKind::rope_table) touch_block(plan_.rope_table_blocks[op.index]);
    if (op.kind == OpKind::linear || op.kind == OpKind::prepare) touch_prepared(op.index);
    forget_prepared(op.out.buffer);
  }

  void touch_prepared(int32_t index) {
    const PreparedInput& p = plan_.prepared[index];
    for (const int32_t block : {p.bf16, p.codes, p.scales, p.sums}) touch_block(block);
  }

  void add_rowwise(const Op& op) { append(StageKind::rows, rows_of(op), op); }

  void need_rope_table(int32_t index) {
    if (plan_.rope_table_blocks[index] >= 0) return;
    const int64_t num_pairs = static_cast<int64_t>(program_.rope_tables[index].frequencies.size());
    plan_.rope_table_blocks[index] = new_block(2 * num_pairs * 4, Rows::tokens);
    Op op{OpKind::rope_table};
    op.index = index;
    append(StageKind::rows, Rows::tokens, op);
  }

  void add_linear(Op op) {
    op.index = prepared_input(op);
    append(StageKind::linear, rows_of(op), op);
  }

  // Linears over one input share its prepared form, as long as nobody wrote the input in between.
  int32_t prepared_input(const Op& linear) {
    const auto known = std::find_if(plan_.prepared.begin() + first_valid_, plan_.prepared.end(),
                                    [&](const PreparedInput& p) { return is_same(p.x, linear.x); });
    return known == plan_.prepared.end() ? add_prepare(linear) : static_cast<int32_t>(known - plan_.prepared.begin());
  }

  int32_t add_prepare(const Op& linear) {
    const Rows rows = rows_of(linear);
    const int64_t width = linear.x.width;
    PreparedInput input;
    input.x = linear.x;
    input.bf16 = new_block((width + 1) / 2 * 4, rows);
    if (width % 32 == 0) {
      input.codes = new_block(width, rows);
      input.scales = new_block(width / 32 * 4, rows);
      input.sums = new_block(width / 16 * 4, rows);
    }
    plan_.prepared.push_back(input);
    Op op{OpKind::prepare};
    op.x = linear.x;
    op.index = static_cast<int32_t>(plan_.prepared.size()) - 1;
    append(StageKind::rows, rows, op);
    return op.index;
  }

  void add_attention(const Op& op) {
    Op store{OpKind::store_kv};
    store.y = op.y;
    store.z = op.z;
    store.index = op.index;
    append(StageKind::rows, Rows::tokens, store);
    append(StageKind::attend, Rows::tokens, op);
  }

  void forget_prepared(int32_t buffer) {
    if (buffer < 0) return;
    for (size_t i = first_valid_; i < plan_.prepared.size(); ++i)
      if (plan_.prepared[i].x.buffer == buffer) first_valid_ = i + 1;
  }

  const Program& program_;
  Plan& plan_;
  size_t first_valid_ = 0;  // prepared inputs before this one are out of date
};

void find_unread_results(Plan& plan) {
  for (Stage& stage : plan.stages) {
    if (stage.kind != StageKind::gated || stage.op_end - stage.op_begin < 3) continue;
    const int32_t buffer = plan.ops[stage.op_begin + 1].out.buffer;
    stage.keeps_result = plan.output.buffer == buffer ||
                         std::any_of(plan.ops.begin() + stage.op_end, plan.ops.end(), [&](const Op& op) {
                           return op.kind != OpKind::linear && reads(op, buffer);
                         });
  }
}

// --- memory: each block at the lowest place that is free while it lives, largest first ---------------------------

void place(Plan& plan, int64_t max_num_tokens, int64_t max_num_selected) {
  const auto bytes = [&](const Block& block) {
    const int64_t rows = block.rows == Rows::tokens ? max_num_tokens : max_num_selected;
    return align_up(static_cast<size_t>(block.row_bytes * rows));
  };
  std::vector<size_t> order(plan.blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return bytes(plan.blocks[a]) > bytes(plan.blocks[b]); });
  std::vector<const Block*> placed;  // by offset
  for (const size_t index : order) {
    Block& block = plan.blocks[index];
    block.offset = 0;
    for (const Block* other : placed) {
      if (other->last < block.first || block.last < other->first) continue;
      if (other->offset >= block.offset + bytes(block)) break;
      block.offset = std::max(block.offset, other->offset + bytes(*other));
    }
    placed.insert(std::upper_bound(placed.begin(), placed.end(), block.offset,
                                   [](size_t offset, const Block* other) { return offset < other->offset; }),
                  &block);
    plan.arena_bytes = std::max(plan.arena_bytes, block.offset + bytes(block));
  }
}

}  // namespace

Plan make_plan(const Program& recorded, int64_t max_num_tokens, int64_t max_num_selected) {
  Program program = recorded;
  Plan plan;
  const std::vector<Op> ops = fuse(program);
  StageBuilder builder(program, plan);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (is_gated(program, ops, i)) {
      builder.add_gated(ops[i], ops[i + 1]);
      ++i;
    } else {
      builder.add(ops[i]);
    }
  }
  plan.output = program.output;
  find_unread_results(plan);
  // The result outlives the last stage.
  plan.blocks[plan.buffer_blocks[plan.output.buffer]].last = static_cast<int32_t>(plan.stages.size());
  place(plan, max_num_tokens, max_num_selected);
  return plan;
}

}  // namespace inglenook
