// Where a tile's numbers lie: in shared memory, and in the registers of a warp's 32 lanes.
//
// A tile is 128 rows by 64 columns of scores; eight warps own 16 rows each. Operands are row-major
// and lie in shared memory in chunks of 64 bytes a row, four segments of 16 bytes. A product
// of 16 rows, 8 columns and 32 bytes of depth (16 bfloat16, 8 tf32) is one tensor-core instruction;
// its operands' registers are filled by reading 8 segments of 16 bytes for each.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace pyhandpose {

constexpr int kMmaWarps = 8;
constexpr int kMmaTileRows = 16 * kMmaWarps;
constexpr int kMmaTileColumns = 64;
constexpr int kColumnGroups = kMmaTileColumns / 8;
constexpr int kSegmentBytes = 16;
constexpr int kChunkSegments = 4;
constexpr int kChunkBytes = kChunkSegments * kSegmentBytes;
constexpr int kRowsChunkBytes = kMmaTileRows * kChunkBytes;
constexpr int kColumnsChunkBytes = kMmaTileColumns * kChunkBytes;
constexpr int kSlab = 128;  // elements of a row's gradient that a block keeps in registers

// Byte offset of a segment of a chunk: segments are exchanged such that eight rows' segments of one
// index lie in different banks.
PYHANDPOSE_HD int chunk_offset(int row, int segment) {
  return row * kChunkBytes + ((segment ^ ((row >> 1) % kChunkSegments)) * kSegmentBytes);
}

// The segment that a lane points at when a warp reads four 8 x 8 matrices of 16-bit elements.
struct Place {
  int row, segment;
};
// 16 rows x 2 segments, as the first operand, and as the second one read across (its depth runs
// over the rows).
PYHANDPOSE_HD Place place_of_rows(int lane) { return {lane % 16, lane / 16}; }
// Two groups of 8 columns x 2 segments, as the second operand.
PYHANDPOSE_HD Place place_of_columns(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2}; }

// Row and column, in a 16 x 8 product, of the four numbers that a lane holds.
PYHANDPOSE_HD int product_row(int lane, int e) { return lane / 4 + e / 2 * 8; }
PYHANDPOSE_HD int product_column(int lane, int e) { return lane % 4 * 2 + e % 2; }

// Byte offset of one 4-byte element of a chunk.
PYHANDPOSE_HD int word_offset(int row, int word) {
  return chunk_offset(row, word / 4) + word % 4 * 4;
}

// Which blocks visit which tiles of columns. Where tiles of rows and slabs make few blocks, each
// tile of rows is given to several, whose sums are merged in order. A constant number of blocks is
// aimed at, whatever the device: the bits of a result do not depend on it.
struct ColumnSplits {
  static constexpr int64_t kBlocks = 264;    // two for each multiprocessor of a large device
  static constexpr int64_t kLeastTiles = 2;  // of a split, so that no sum over negatives is empty

  int num_tiles, count;

  PYHANDPOSE_HD ColumnSplits(int64_t num_rows, int64_t num_columns, int64_t num_slabs) {
    const int64_t tiles = (num_columns + kMmaTileColumns - 1) / kMmaTileColumns;
    const int64_t blocks = (num_rows + kMmaTileRows - 1) / kMmaTileRows * num_slabs;
    const int64_t most = tiles / kLeastTiles, wanted = kBlocks / blocks;
    const int64_t splits = wanted < most ? wanted : most;
    num_tiles = static_cast<int>(tiles);
    count = splits > 1 ? static_cast<int>(splits) : 1;
  }
  PYHANDPOSE_HD int begin(int split) const {
    return static_cast<int>(static_cast<int64_t>(num_tiles) * split / count);
  }
  PYHANDPOSE_HD int end(int split) const { return begin(split + 1); }
};

// Pairs of bands of rows (I,J), I <= J, for sums over the rows of a symmetric matrix: every element
// serves its row and its column, which leaves sums at place J of the rows of I and, where the bands
// differ, at place I of the rows of J. A row has one place for each band.
struct BandPairs {
  // 32 bands make pairs enough for a large device; more and narrower ones cost more beyond their
  // elements. Bands of kManyRows rows cost little: from there on they grow in number, to 64, which
  // bounds the memory.
  static constexpr int64_t kFewBands = 32, kManyRows = 1024, kMostBands = 64;

  struct Pair {
    int first, second;
  };

  int64_t num_rows, band_rows;
  int num_bands;

  PYHANDPOSE_HD BandPairs(int64_t num_rows, int64_t band_rows)
      : num_rows(num_rows),
        band_rows(band_rows),
        num_bands(static_cast<int>((num_rows + band_rows - 1) / band_rows)) {}

  // Whole tiles of rows; 0 where the pairs were fewer than the blocks that ColumnSplits makes.
  PYHANDPOSE_HD static int64_t usual_band_rows(int64_t num_rows) {
    constexpr int64_t kMostRows = kMostBands * kMmaTileRows;
    const int64_t wide = num_rows / kFewBands < kManyRows ? num_rows / kFewBands : kManyRows;
    const int64_t tiles = wide / kMmaTileRows, least = (num_rows + kMostRows - 1) / kMostRows;
    const int64_t rows = (tiles > least ? tiles : least) * kMmaTileRows;
    return BandPairs(num_rows, rows).count() < ColumnSplits::kBlocks ? 0 : rows;
  }
  PYHANDPOSE_HD int count() const { return num_bands * (num_bands + 1) / 2; }
  PYHANDPOSE_HD Pair pair(int index) const {
    int first = 0;
    for (; index >= num_bands - first; ++first) index -= num_bands - first;
    return {first, first + index};
  }
  PYHANDPOSE_HD int64_t begin(int band) const {
    const int64_t row = band * band_rows;
    return row < num_rows ? row : num_rows;
  }
  PYHANDPOSE_HD int64_t end(int band) const { return begin(band + 1); }
};

// Shared memory of a block that keeps all chunks of its rows, and of two tiles of columns with a
// weight for each column: one in use, the next on its way.
struct ResidentLayout {
  int num_chunks, parts;

  PYHANDPOSE_HD int rows(int chunk) const { return chunk * parts * kRowsChunkBytes; }
  PYHANDPOSE_HD int columns(int stage, int chunk) const {
    return rows(num_chunks) + (stage * num_chunks + chunk) * parts * kColumnsChunkBytes;
  }
  PYHANDPOSE_HD int weights(int stage) const {
    return columns(2, 0) + stage * kMmaTileColumns * static_cast<int>(sizeof(float));
  }
  PYHANDPOSE_HD int num_bytes() const { return weights(2); }
};

// Shared memory of a block through which both operands pass chunk by chunk, in two stages.
struct StreamedLayout {
  int parts;

  PYHANDPOSE_HD int rows(int stage) const {
    return stage * parts * (kRowsChunkBytes + kColumnsChunkBytes);
  }
  PYHANDPOSE_HD int columns(int stage) const { return rows(stage) + parts * kRowsChunkBytes; }
  PYHANDPOSE_HD int num_bytes() const { return rows(2); }
};

// What a block reads chunk by chunk, in order: for each tile of columns the chunks of both operands
// for the scores, then the column's chunks of the slab for the gradient (none in the forward pass).
struct ChunkSchedule {
  int64_t num_tiles;
  int64_t score_chunks, first_slab_chunk, slab_chunks;
  int64_t tile = 0, step = 0;

  PYHANDPOSE_HD bool done() const { return tile >= num_tiles; }
  PYHANDPOSE_HD bool is_score() const { return step < score_chunks; }
  PYHANDPOSE_HD int64_t chunk() const {
    return is_score() ? step : first_slab_chunk + step - score_chunks;
  }
  PYHANDPOSE_HD void advance() {
    if (++step < score_chunks + slab_chunks) return;
    step = 0;
    ++tile;
  }
};

// A matrix of `parts` (high, low) in row-major chunks, padded with zeros to whole tiles and chunks.
struct OperandShape {
  int64_t num_rows, row_bytes;
  int parts;

  // Rows, and columns with their weights, that whole tiles hold.
  PYHANDPOSE_HD static int64_t padded(int64_t rows) {
    return (rows + kMmaTileRows - 1) / kMmaTileRows * kMmaTileRows;
  }
  OperandShape() = default;
  PYHANDPOSE_HD OperandShape(int64_t rows, int64_t dim, int element_bytes, int parts)
      : num_rows(padded(rows)),
        row_bytes((dim * element_bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes),
        parts(parts) {}

  PYHANDPOSE_HD int64_t num_chunks() const { return row_bytes / kChunkBytes; }
  PYHANDPOSE_HD int64_t part_bytes() const { return num_rows * row_bytes; }
  PYHANDPOSE_HD int64_t num_bytes() const { return parts * part_bytes(); }
};

}  // namespace pyhandpose
