#include "bindings.h"

namespace inglenook {

void bind_probes(nanobind::module_&) {}

}  // namespace inglenook
