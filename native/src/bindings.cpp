#include "bindings.h"

NB_MODULE(_native, m) {
  m.doc() = "The native part of inglenook. Its Python faces are the modules beside it.";
  inglenook::bind_packing(m);
  inglenook::bind_sampler(m);
  inglenook::bind_scoring(m);
  inglenook::bind_probes(m);
  inglenook::bind_step(m);
  inglenook::bind_tape(m);
}
