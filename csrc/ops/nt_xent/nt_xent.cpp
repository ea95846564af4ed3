// nt_xent at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "nt_xent.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "../../common/checks.h"
#include "../../common/dispatch.h"
#include "nt_xent_math.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.nt_xent";
constexpr int64_t kPanelsPerTask = 4;
constexpr int64_t kPairsPerTask = 1;

struct Packed {
  at::Tensor panels, inverse_norm;
  PanelShape shape;
};

at::Tensor check_nt_xent(const at::Tensor& z, double temperature) {
  check_shape(kOp, "z", z, "(2N,D)", {-1, -1});
  check_dtype(kOp, "z", z, {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16});
  check_pairs(kOp, "z", z, "(2N,D)");
  check_temperature(kOp, temperature);
  return z.contiguous();
}

Packed allocate(const at::Tensor& z) {
  const PanelShape shape{z.size(0), z.size(1)};
  const auto options = z.options().dtype(accumulate_dtype(z.scalar_type()));
  at::Tensor inverse_norm = at::empty({shape.num_rows}, options);
  return {nt_xent_new_panels(inverse_norm, shape), inverse_norm, shape};
}

template <typename T>
NtXentPack<T> pack_args(const at::Tensor& z, Packed& packed) {
  return {read_pointer<T>(z), write_pointer<acc_t<T>>(packed.panels),
          write_pointer<acc_t<T>>(packed.inverse_norm), packed.shape};
}

template <typename T>
NtXentUnpack<T> unpack_args(const Packed& packed, const at::Tensor& grad_panels,
                            const at::Tensor& grad_loss, at::Tensor& grad_z, double temperature) {
  return {read_pointer<acc_t<T>>(packed.panels),
          read_pointer<acc_t<T>>(grad_panels),
          read_pointer<acc_t<T>>(packed.inverse_norm),
          read_pointer<acc_t<T>>(grad_loss),
          write_pointer<T>(grad_z),
          packed.shape,
          temperature};
}

// Per-row arrays of the forward pass and its result.
struct ForwardBuffers {
  at::Tensor sums, log_sums, row_loss, loss;

  ForwardBuffers(const at::Tensor& panels, PanelShape shape) {
    const auto precise = panels.options().dtype(at::kDouble);
    sums = at::zeros({shape.num_panels() * PanelShape::kRows}, precise);
    log_sums = at::empty({shape.num_rows}, precise);
    row_loss = at::empty({shape.num_rows}, precise);
    loss = at::empty({}, panels.options());
  }

  template <typename A>
  NtXentForward<A> args(const at::Tensor& panels, PanelShape shape, double temperature) {
    return {read_pointer<A>(panels),
            write_pointer<double>(sums),
            write_pointer<double>(log_sums),
            write_pointer<double>(row_loss),
            shape,
            temperature};
  }
};

struct BackwardBuffers {
  at::Tensor weights, grad_panels;

  BackwardBuffers(const at::Tensor& panels, PanelShape shape)
      : weights(at::empty({shape.num_panels() * PanelShape::kRows}, panels.options())),
        grad_panels(at::zeros_like(panels)) {}

  template <typename A>
  NtXentBackward<A> args(const at::Tensor& panels, const at::Tensor& log_sums, PanelShape shape,
                         double temperature) {
    return {read_pointer<A>(panels),
            read_pointer<double>(log_sums),
            write_pointer<A>(weights),
            write_pointer<A>(grad_panels),
            shape,
            temperature};
  }
};

Packed pack_cpu(const at::Tensor& z) {
  Packed packed = allocate(z);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    const auto args = pack_args<decltype(tag)>(z, packed);
    at::parallel_for(0, packed.shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_pack_cpu(args, begin, end));
    });
  });
  return packed;
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& z, double temperature) {
  const Packed packed = pack_cpu(check_nt_xent(z, temperature));
  return nt_xent_forward_panels_cpu(packed.panels, packed.shape, temperature);
}

at::Tensor backward_cpu(const at::Tensor& grad_loss, const at::Tensor& z,
                        const at::Tensor& log_sums, double temperature) {
  const at::Tensor rows = check_nt_xent(z, temperature);
  const Packed packed = pack_cpu(rows);
  const at::Tensor grad_panels =
      nt_xent_backward_panels_cpu(packed.panels, log_sums, packed.shape, temperature);
  at::Tensor grad_z = at::empty_like(rows);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    const auto args =
        unpack_args<decltype(tag)>(packed, grad_panels, grad_loss, grad_z, temperature);
    at::parallel_for(0, packed.shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_unpack_cpu(args, begin, end));
    });
  });
  return grad_z;
}

#if defined(PYHANDPOSE_WITH_CUDA)
Packed pack_cuda(const at::Tensor& z, cudaStream_t stream) {
  Packed packed = allocate(z);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    nt_xent_pack_cuda(pack_args<decltype(tag)>(z, packed), stream);
  });
  return packed;
}

std::tuple<at::Tensor, at::Tensor> forward_cuda(const at::Tensor& z, double temperature) {
  const CudaScope scope(z);
  const Packed packed = pack_cuda(check_nt_xent(z, temperature), scope.stream);
  return nt_xent_forward_panels_cuda(packed.panels, packed.shape, temperature);
}

at::Tensor backward_cuda(const at::Tensor& grad_loss, const at::Tensor& z,
                         const at::Tensor& log_sums, double temperature) {
  const CudaScope scope(z);
  const at::Tensor rows = check_nt_xent(z, temperature);
  const Packed packed = pack_cuda(rows, scope.stream);
  const at::Tensor grad_panels =
      nt_xent_backward_panels_cuda(packed.panels, log_sums, packed.shape, temperature);
  at::Tensor grad_z = at::empty_like(rows);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    nt_xent_unpack_cuda(
        unpack_args<decltype(tag)>(packed, grad_panels, grad_loss, grad_z, temperature),
        scope.stream);
  });
  return grad_z;
}
#endif

}  // namespace

at::Tensor nt_xent_new_panels(const at::Tensor& like, PanelShape shape) {
  return at::zeros({shape.num_panels(), shape.width(), PanelShape::kRows}, like.options());
}

std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels_cpu(const at::Tensor& panels,
                                                              PanelShape shape,
                                                              double temperature) {
  ForwardBuffers buffers(panels, shape);
  dispatch_full_precision(panels.scalar_type(), [&](auto tag) {
    using A = decltype(tag);
    const auto args = buffers.args<A>(panels, shape, temperature);
    if (has_constant_shift(temperature)) {
      const PairSchedule schedule(shape.num_panels());
      for (int64_t phase = 0; phase < schedule.num_phases(); ++phase)
        at::parallel_for(0, schedule.num_tasks(phase), kPairsPerTask,
                         [&](int64_t begin, int64_t end) {
                           PYHANDPOSE_ISA_CALL(nt_xent_sum_pairs_cpu(args, phase, begin, end));
                         });
    } else {
      at::parallel_for(0, shape.num_panels(), 1, [&](int64_t begin, int64_t end) {
        PYHANDPOSE_ISA_CALL(nt_xent_log_sum_rows_cpu(args, begin, end));
      });
    }
    at::parallel_for(0, shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_row_loss_cpu(args, begin, end));
    });
    *write_pointer<A>(buffers.loss) =
        static_cast<A>(PYHANDPOSE_ISA_CALL(nt_xent_mean_cpu(args.row_loss, shape.num_rows)));
  });
  return {buffers.loss, buffers.log_sums};
}

at::Tensor nt_xent_backward_panels_cpu(const at::Tensor& panels, const at::Tensor& log_sums,
                                       PanelShape shape, double temperature) {
  BackwardBuffers buffers(panels, shape);
  dispatch_full_precision(panels.scalar_type(), [&](auto tag) {
    const auto args = buffers.args<decltype(tag)>(panels, log_sums, shape, temperature);
    at::parallel_for(0, shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_weights_cpu(args, begin, end));
    });
    const PairSchedule schedule(shape.num_panels());
    for (int64_t phase = 0; phase < schedule.num_phases(); ++phase)
      at::parallel_for(0, schedule.num_tasks(phase), kPairsPerTask,
                       [&](int64_t begin, int64_t end) {
                         PYHANDPOSE_ISA_CALL(nt_xent_gradient_pairs_cpu(args, phase, begin, end));
                       });
    at::parallel_for(0, shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_positives_cpu(args, begin, end));
    });
  });
  return buffers.grad_panels;
}

#if defined(PYHANDPOSE_WITH_CUDA)
std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels_cuda(const at::Tensor& panels,
                                                               PanelShape shape,
                                                               double temperature) {
  const CudaScope scope(panels);
  ForwardBuffers buffers(panels, shape);
  dispatch_full_precision(panels.scalar_type(), [&](auto tag) {
    using A = decltype(tag);
    nt_xent_forward_cuda(buffers.args<A>(panels, shape, temperature),
                         write_pointer<A>(buffers.loss), scope.stream);
  });
  return {buffers.loss, buffers.log_sums};
}

at::Tensor nt_xent_backward_panels_cuda(const at::Tensor& panels, const at::Tensor& log_sums,
                                        PanelShape shape, double temperature) {
  const CudaScope scope(panels);
  BackwardBuffers buffers(panels, shape);
  dispatch_full_precision(panels.scalar_type(), [&](auto tag) {
    nt_xent_backward_cuda(buffers.args<decltype(tag)>(panels, log_sums, shape, temperature),
                          scope.stream);
  });
  return buffers.grad_panels;
}
#endif

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def("nt_xent(Tensor z, float temperature) -> (Tensor loss, Tensor log_sums)",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "nt_xent_backward(Tensor grad_loss, Tensor z, Tensor log_sums, float temperature) -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("nt_xent", &forward_cpu);
  m.impl("nt_xent_backward", &backward_cpu);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("nt_xent", &forward_cuda);
  m.impl("nt_xent_backward", &backward_cuda);
}
#endif

}  // namespace pyhandpose
