// Runs nt_xent's CUDA kernels, from their own source, on the host.
//
//   nt_xent_cuda float|double PRECISION SHARED_KB BAND_ROWS TEMPERATURE M D [SIZE...] < input
//
// Input: z (M,D), then the column of each row's positive (M,) int64. Output, float64: the loss,
// log-sums (M,), gradient (M,D). Without sizes the square call, whose positives are (i + N) mod M;
// with them the rectangular one, in consecutive parts of so many rows. A block may ask for
// SHARED_KB of shared memory. With BAND_ROWS above 0 the square's forward pass is the symmetric
// one.
#include <cuda_runtime.h>

#include <string>

#include "cuda_on_host/mma.h"

#include "../../csrc/ops/nt_xent/nt_xent_cuda.cu"
#include "../../csrc/ops/nt_xent/nt_xent_mma_cuda.cu"
#include "../../csrc/ops/nt_xent/nt_xent_rowwise_cuda.cu"

using namespace pyhandpose;

namespace {

constexpr int kTilesPerChain = 2;  // so that few columns make several chains

// What nobody has written is NaN, in any type.
template <typename T>
std::vector<T> unwritten(int64_t count) {
  std::vector<T> memory(static_cast<size_t>(count));
  std::memset(memory.data(), 0xff, memory.size() * sizeof(T));
  return memory;
}

template <typename T>
struct Rows {
  PanelShape shape;
  Precision precision;
  std::vector<T> panels, inverse_norm;
  std::vector<unsigned char> bytes;
  NtXentOperand operand;

  Rows(const T* z, PanelShape shape, Precision precision)
      : shape(shape),
        precision(precision),
        panels(unwritten<T>(shape.num_panels() * shape.panel_size())),
        inverse_norm(unwritten<T>(shape.num_rows)) {
    nt_xent_pack_cuda<T>({z, panels.data(), inverse_norm.data(), shape}, nullptr);
    if constexpr (sizeof(T) == sizeof(float)) {
      if (precision == Precision::kFfma) return;
      operand.shape =
          OperandShape(shape.num_rows, shape.dim, element_bytes(precision), num_parts(precision));
      bytes = unwritten<unsigned char>(operand.shape.num_bytes() + 16);
      operand.data = bytes.data() + (16 - reinterpret_cast<uintptr_t>(bytes.data()) % 16) % 16;
      nt_xent_prepare_cuda(panels.data(), shape, operand, precision, nullptr);
    }
  }
};

int num_splits(Precision precision, ColumnSplits splits) {
  return precision == Precision::kFfma ? 1 : splits.count;
}

template <typename T>
void forward(const Rows<T>& rows, const Rows<T>& columns, const Contrast& contrast,
             double temperature, int64_t band_rows, double* log_sums, double* loss) {
  const int splits = num_splits(rows.precision, nt_xent_mma_forward_splits(contrast));
  const int64_t bands = band_rows > 0 ? BandPairs(contrast.rows.num_rows, band_rows).num_bands : 0;
  auto sums = unwritten<double>(splits * contrast.rows.num_rows);
  auto band_sums = unwritten<float>(bands * contrast.rows.num_rows);
  auto row_loss = unwritten<double>(contrast.rows.num_rows);
  T mean;
  nt_xent_forward_cuda<T>(
      {rows.panels.data(), columns.panels.data(), sums.data(), log_sums, row_loss.data(), contrast,
       temperature, splits, band_rows, band_sums.data()},
      {rows.operand, columns.operand, rows.precision}, &mean, nullptr);
  *loss += mean;
}

template <typename T>
void backward(const Rows<T>& rows, const Rows<T>& columns, const Contrast& contrast,
              double temperature, const double* log_sums, double* gradient) {
  auto weights = unwritten<T>(OperandShape::padded(contrast.columns.num_rows) + 4);
  T* aligned =
      weights.data() + (16 - reinterpret_cast<uintptr_t>(weights.data()) % 16) % 16 / sizeof(T);
  const int splits = num_splits(rows.precision, nt_xent_mma_backward_splits(contrast));
  const auto num_panel_elements = static_cast<int64_t>(rows.panels.size());
  auto grad_panels = unwritten<T>(num_panel_elements);
  auto grad_parts = unwritten<T>((splits - 1) * num_panel_elements);
  nt_xent_backward_cuda<T>(
      {rows.panels.data(), columns.panels.data(), log_sums, aligned, grad_panels.data(), contrast,
       temperature, grad_parts.data(), splits, kTilesPerChain},
      {rows.operand, columns.operand, rows.precision}, nullptr);
  const T one = 1;
  auto grad_z = unwritten<T>(contrast.rows.num_rows * contrast.rows.dim);
  nt_xent_unpack_cuda<T>(
      {rows.panels.data(), grad_panels.data(), rows.inverse_norm.data(), &one, grad_z.data(),
       contrast.rows, temperature * static_cast<double>(contrast.columns.num_rows)},
      nullptr);
  for (const T value : grad_z) *gradient++ = value;
}

template <typename T>
std::vector<T> read(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  if (std::fread(values.data(), sizeof(T), values.size(), stdin) != values.size()) std::exit(2);
  return values;
}

template <typename T>
void run(Precision precision, int64_t band_rows, double temperature, PanelShape all,
         const std::vector<int64_t>& sizes) {
  const auto z = read<T>(all.num_rows * all.dim);
  const auto positive = read<int64_t>(all.num_rows);
  std::vector<int64_t> itself(positive.size());
  for (size_t i = 0; i < itself.size(); ++i) itself[i] = static_cast<int64_t>(i);
  auto log_sums = unwritten<double>(all.num_rows);
  auto gradient = unwritten<double>(all.num_rows * all.dim);
  double loss = 0;
  const Rows<T> columns(z.data(), all, precision);
  if (sizes.empty()) {
    const Contrast square{all, all};
    forward(columns, columns, square, temperature, band_rows, log_sums.data(), &loss);
    backward(columns, columns, square, temperature, log_sums.data(), gradient.data());
  }
  for (const bool is_forward : {true, false}) {
    int64_t first = 0;
    for (const int64_t size : sizes) {
      const PanelShape part{size, all.dim};
      const Rows<T> rows(z.data() + first * all.dim, part, precision);
      const Contrast contrast{part, all, itself.data() + first, positive.data() + first};
      if (is_forward)
        forward(rows, columns, contrast, temperature, 0, log_sums.data() + first, &loss);
      else
        backward(rows, columns, contrast, temperature, log_sums.data(),
                 gradient.data() + first * all.dim);
      first += size;
    }
  }
  std::fwrite(&loss, sizeof(double), 1, stdout);
  std::fwrite(log_sums.data(), sizeof(double), log_sums.size(), stdout);
  std::fwrite(gradient.data(), sizeof(double), gradient.size(), stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 8) return 1;
  const std::string dtype = arguments[1], name = arguments[2];
  const Precision precision = name == "bf16x3" ? Precision::kBf16x3
                              : name == "tf32" ? Precision::kTf32
                              : name == "bf16" ? Precision::kBf16
                                               : Precision::kFfma;
  on_host::largest_shared_bytes = std::atoi(arguments[3]) * 1024;
  const PanelShape all{std::atoll(arguments[6]), std::atoll(arguments[7])};
  std::vector<int64_t> sizes;
  for (int i = 8; i < count; ++i) sizes.push_back(std::atoll(arguments[i]));
  const auto run_dtype = dtype == "double" ? run<double> : run<float>;
  run_dtype(precision, std::atoll(arguments[4]), std::atof(arguments[5]), all, sizes);
}
