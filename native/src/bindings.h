// Each part of the extension module adds itself.
#pragma once

#include <nanobind/nanobind.h>

namespace inglenook {

class Tape;

void bind_packing(nanobind::module_& m);
void bind_sampler(nanobind::module_& m);
void bind_scoring(nanobind::module_& m);
void bind_probes(nanobind::module_& m);
void bind_profile(nanobind::class_<Tape>& tape);
void bind_step(nanobind::module_& m);
void bind_tape(nanobind::module_& m);

}  // namespace inglenook
