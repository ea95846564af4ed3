// Reads matrices as binary float or double, writes U, s, V of signed_svd, on numbers and on lanes.
//
//   svd3 float|double scalar|lanes < (n,9) row-major > (n,21): U (9), s (3), V (9)
#include "../../csrc/common/svd3.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "../../csrc/common/lanes.h"

using namespace pyhandpose;

template <typename T>
void put(T* out, const Vec3<T>& a, const Vec3<T>& b, const Vec3<T>& c) {
  const Vec3<T> columns[] = {a, b, c};
  for (int column = 0; column < 3; ++column) {
    out[column] = columns[column].x;
    out[3 + column] = columns[column].y;
    out[6 + column] = columns[column].z;
  }
}

template <typename T>
void decompose(const T* m, T* out) {
  const Svd3<T> svd =
      signed_svd(Mat3<T>{{m[0], m[3], m[6]}, {m[1], m[4], m[7]}, {m[2], m[5], m[8]}});
  put(out, svd.u1, svd.u2, svd.u3);
  out[9] = svd.s1;
  out[10] = svd.s2;
  out[11] = svd.s3;
  put(out + 12, svd.v1, svd.v2, svd.v3);
}

// The number type of a whole group of matrices, one a lane.
template <typename S>
void decompose_lanes(const S* matrices, int count, S* out) {
  using T = Lanes<S>;
  T m[9], found[21];
  for (int i = 0; i < 9; ++i) {
    S entries[T::kCount];
    for (int j = 0; j < T::kCount; ++j) entries[j] = matrices[(j < count ? j : 0) * 9 + i];
    m[i] = T::load(entries);
  }
  decompose(m, found);
  for (int i = 0; i < 21; ++i) {
    S entries[T::kCount];
    found[i].store(entries);
    for (int j = 0; j < count; ++j) out[j * 21 + i] = entries[j];
  }
}

template <typename S>
int run(bool lanes) {
  S matrix[9];
  std::vector<S> matrices;
  while (std::fread(matrix, sizeof(S), 9, stdin) == 9)
    matrices.insert(matrices.end(), matrix, matrix + 9);
  const int count = static_cast<int>(matrices.size() / 9), step = lanes ? Lanes<S>::kCount : 1;
  std::vector<S> out(21 * static_cast<size_t>(count));
  for (int i = 0; i < count; i += step) {
    const S* const in = matrices.data() + 9 * static_cast<size_t>(i);
    S* const result = out.data() + 21 * static_cast<size_t>(i);
    if (lanes)
      decompose_lanes(in, count - i < step ? count - i : step, result);
    else
      decompose(in, result);
  }
  return std::fwrite(out.data(), sizeof(S), out.size(), stdout) == out.size() ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const bool lanes = std::strcmp(argv[2], "lanes") == 0;
  return std::strcmp(argv[1], "float") == 0 ? run<float>(lanes) : run<double>(lanes);
}
