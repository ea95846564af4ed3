// The Python module `_C`. Loading it runs the TORCH_LIBRARY registrations of every op; what it
// exports itself is the instruction set that was chosen and whether CUDA kernels are inside.
#include <pybind11/pybind11.h>

#include "common/isa.h"
#include "synthetic/bindings.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "Registers torch.ops.pyhandpose.* when it is loaded.";
  m.def(
      "active_isa", [] { return pyhandpose::isa_name(pyhandpose::active_isa()); },
      "The instruction set of the CPU kernels in use: 'avx512', 'avx2' or 'baseline'.");
#if defined(PYHANDPOSE_WITH_CUDA)
  m.attr("with_cuda") = true;
#else
  m.attr("with_cuda") = false;
#endif
  pyhandpose::synthetic::bind_synthetic(m);
}
