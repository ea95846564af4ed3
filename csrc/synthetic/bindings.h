// Python bindings of the synthetic world, in the extension module `_C`.
#pragma once

#include <pybind11/pybind11.h>

namespace pyhandpose::synthetic {

void bind_synthetic(pybind11::module_& parent);

}  // namespace pyhandpose::synthetic
