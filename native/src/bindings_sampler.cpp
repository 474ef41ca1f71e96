#include "bindings.h"

namespace inglenook {

void bind_sampler(nanobind::module_&) {}

}  // namespace inglenook
