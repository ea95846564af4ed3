// How operands reach the multiplying warps of nt_xent's tensor-core kernels: two feeds of the same
// interface. Both copy in the background, two stages deep, with one barrier a stage: after it the
// stage has arrived for all threads, and none still reads the other one, which is filled next.
//
//   Resident   the block's rows stay in shared memory, tiles of columns pass through it whole, and
//              serve both products: one barrier a tile
//   Streamed   chunks of 64 bytes a row of both operands pass through it, the columns' twice in the
//              backward pass: for rows too wide, or devices with too little memory, to be resident
#pragma once

#include "../../common/launch.cuh"
#include "../../common/mma.cuh"
#include "../../common/mma_tile.h"
#include "../../common/reduce.cuh"
#include "nt_xent.h"

namespace pyhandpose {

template <Precision P>
constexpr int kParts = num_parts(P);
template <Precision P>
constexpr int kElementBytes = element_bytes(P);
template <Precision P>
constexpr int kChunkElements = kChunkBytes / kElementBytes<P>;
template <Precision P>
constexpr int kSlabChunks = kSlab / kChunkElements<P>;

// One chunk of both operands in shared memory, part after part.
struct TileChunk {
  const unsigned char *rows, *columns;
};

// What a block multiplies: rows from `first_row`, the tiles of columns [tile, end), and in the
// backward pass the columns' weights and, for the gradient, the chunks of a slab.
struct TileWork {
  int64_t first_row;
  int tile, end;
  const float* weights = nullptr;
  int first_slab_chunk = 0, slab_chunks = 0;
};

__device__ __forceinline__ int thread_of_block() { return threadIdx.y * kWarpSize + threadIdx.x; }

// The segment of chunk 0 that this thread copies: the block's 256 cover 64 rows.
__device__ __forceinline__ const unsigned char* segment_of_thread(const NtXentOperand& from,
                                                                  int64_t first_row) {
  const int thread = thread_of_block();
  return from.data + (first_row + thread / kChunkSegments) * from.shape.row_bytes +
         thread % kChunkSegments * kSegmentBytes;
}

// One chunk of kRows consecutive rows, all parts, by all threads of the block.
template <int kNumParts, int kRows>
__device__ __forceinline__ void copy_chunk(unsigned char* to, const unsigned char* segment,
                                           const OperandShape& shape) {
  constexpr int kRowsAtOnce = kMmaWarps * kWarpSize / kChunkSegments;
  const int thread = thread_of_block();
  const int offset = chunk_offset(thread / kChunkSegments, thread % kChunkSegments);
#pragma unroll
  for (int part = 0; part < kNumParts; ++part)
#pragma unroll
    for (int row = 0; row < kRows; row += kRowsAtOnce)
      copy_async(to + part * kRows * kChunkBytes + row * kChunkBytes + offset,
                 segment + part * shape.part_bytes() + row * shape.row_bytes);
}

template <Precision P>
struct ResidentFeed {
  static constexpr Precision kPrecision = P;
  static constexpr int kUnrolledChunks = kSlabChunks<P>;

  static __host__ __device__ int64_t shared_bytes(const OperandShape& shape) {
    return ResidentLayout{static_cast<int>(shape.num_chunks()), kParts<P>}.num_bytes();
  }

  unsigned char* shared;
  ResidentLayout layout;
  TileWork work;  // from the tile that is fetched next
  OperandShape shape;
  const unsigned char* segment;  // of that tile
  int stage = 1;                 // in use

  __device__ __forceinline__ ResidentFeed(const NtXentOperands& operands, const TileWork& work)
      : shared(dynamic_shared()),
        layout{static_cast<int>(operands.rows.shape.num_chunks()), kParts<P>},
        work(work),
        shape(operands.columns.shape),
        segment(segment_of_thread(operands.columns,
                                  static_cast<int64_t>(work.tile) * kMmaTileColumns)) {
    const unsigned char* row = segment_of_thread(operands.rows, work.first_row);
    for (int chunk = 0; chunk < layout.num_chunks; ++chunk)
      copy_chunk<kParts<P>, kMmaTileRows>(shared + layout.rows(chunk), row + chunk * kChunkBytes,
                                          operands.rows.shape);
    fetch(0);
  }

  __device__ __forceinline__ int num_chunks() const { return layout.num_chunks; }
  // The next tile: before its chunks and weights are asked for.
  __device__ __forceinline__ void start_tile() {
    wait_copies();
    __syncthreads();
    stage ^= 1;
    fetch(stage ^ 1);
  }
  __device__ __forceinline__ TileChunk score_chunk(int chunk) const {
    return {shared + layout.rows(chunk), shared + layout.columns(stage, chunk)};
  }
  __device__ __forceinline__ const unsigned char* slab_chunk(int chunk) const {
    return shared + layout.columns(stage, work.first_slab_chunk + chunk);
  }
  // Of two consecutive columns of the tile.
  __device__ __forceinline__ float2 weights(int column) const {
    return reinterpret_cast<const float2*>(shared + layout.weights(stage))[column / 2];
  }

 private:
  __device__ __forceinline__ void fetch(int to) {
    if (work.tile >= work.end) return;
#pragma unroll kUnrolledChunks
    for (int chunk = 0; chunk < layout.num_chunks; ++chunk)
      copy_chunk<kParts<P>, kMmaTileColumns>(shared + layout.columns(to, chunk),
                                             segment + chunk * kChunkBytes, shape);
    const int thread = thread_of_block(), per_copy = kSegmentBytes / sizeof(float);
    if (work.weights != nullptr && thread < kMmaTileColumns / per_copy)
      copy_async(
          shared + layout.weights(to) + thread * kSegmentBytes,
          work.weights + static_cast<int64_t>(work.tile) * kMmaTileColumns + thread * per_copy);
    segment += kMmaTileColumns * shape.row_bytes;
    ++work.tile;
  }
};

template <Precision P>
struct StreamedFeed {
  static constexpr Precision kPrecision = P;
  static constexpr int kUnrolledChunks = 1;

  static __host__ __device__ int64_t shared_bytes(const OperandShape&) {
    return StreamedLayout{kParts<P>}.num_bytes();
  }

  unsigned char* shared;
  StreamedLayout layout = {kParts<P>};
  NtXentOperands operands;
  TileWork work;
  ChunkSchedule schedule;
  int stage = 1;  // in use

  __device__ __forceinline__ StreamedFeed(const NtXentOperands& operands, const TileWork& work)
      : shared(dynamic_shared()),
        operands(operands),
        work(work),
        schedule{work.end, operands.rows.shape.num_chunks(), work.first_slab_chunk,
                 work.slab_chunks, work.tile} {
    fetch(0);
    --this->work.tile;
  }

  __device__ __forceinline__ int num_chunks() const {
    return static_cast<int>(schedule.score_chunks);
  }
  __device__ __forceinline__ void start_tile() { ++work.tile; }
  __device__ __forceinline__ TileChunk score_chunk(int) {
    next();
    return {shared + layout.rows(stage), shared + layout.columns(stage)};
  }
  __device__ __forceinline__ const unsigned char* slab_chunk(int) {
    next();
    return shared + layout.columns(stage);
  }
  __device__ __forceinline__ float2 weights(int column) const {
    return reinterpret_cast<const float2*>(work.weights + static_cast<int64_t>(work.tile) *
                                                              kMmaTileColumns)[column / 2];
  }

 private:
  __device__ __forceinline__ void next() {
    wait_copies();
    __syncthreads();
    stage ^= 1;
    fetch(stage ^ 1);
  }
  __device__ __forceinline__ void fetch(int to) {
    if (schedule.done()) return;
    const int64_t offset = schedule.chunk() * kChunkBytes;
    if (schedule.is_score())
      copy_chunk<kParts<P>, kMmaTileRows>(shared + layout.rows(to),
                                          segment_of_thread(operands.rows, work.first_row) + offset,
                                          operands.rows.shape);
    copy_chunk<kParts<P>, kMmaTileColumns>(
        shared + layout.columns(to),
        segment_of_thread(operands.columns, schedule.tile * kMmaTileColumns) + offset,
        operands.columns.shape);
    schedule.advance();
  }
};

}  // namespace pyhandpose
