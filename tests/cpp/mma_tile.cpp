// csrc/common/mma_tile.h and the columns that a row leaves out, exhaustively. Prints what is wrong.
#include "../../csrc/common/mma_tile.h"

#include <cstdio>
#include <set>
#include <utility>
#include <vector>

#include "../../csrc/ops/nt_xent/nt_xent.h"

using namespace pyhandpose;

namespace {

int faults = 0;

void expect(bool holds, const char* what, int64_t at) {
  if (holds) return;
  std::printf("%s (%lld)\n", what, static_cast<long long>(at));
  ++faults;
}

// Every segment of a tile has its own place, and eight rows' segments meet in no bank of 4 bytes.
void check_chunks() {
  std::set<int> places;
  for (int row = 0; row < kMmaTileRows; ++row)
    for (int segment = 0; segment < kChunkSegments; ++segment) {
      const int offset = chunk_offset(row, segment);
      expect(offset >= 0 && offset + kSegmentBytes <= kMmaTileRows * kChunkBytes, "outside", row);
      expect(offset % kSegmentBytes == 0, "not aligned", row);
      expect(places.insert(offset).second, "two segments in one place", row);
    }
  for (int first = 0; first < kMmaTileRows; first += 8)
    for (int segment = 0; segment < kChunkSegments; ++segment) {
      std::set<int> banks;
      for (int row = first; row < first + 8; ++row)
        for (int word = 0; word < 4; ++word)
          expect(banks.insert((chunk_offset(row, segment) / 4 + word) % 32).second, "bank conflict",
                 first);
    }
  for (int row = 0; row < kMmaTileColumns; ++row)
    for (int word = 0; word < kChunkBytes / 4; ++word)
      expect(word_offset(row, word) == chunk_offset(row, word / 4) + word % 4 * 4, "word", row);
}

// A warp's lanes cover their segments once, and a product's 16 x 8 numbers once.
void check_lanes() {
  std::set<std::pair<int, int>> rows, columns, numbers;
  for (int lane = 0; lane < 32; ++lane) {
    const Place r = place_of_rows(lane), c = place_of_columns(lane);
    expect(r.row >= 0 && r.row < 16 && r.segment >= 0 && r.segment < 2, "place of rows", lane);
    expect(c.row >= 0 && c.row < 16 && c.segment >= 0 && c.segment < 2, "place of columns", lane);
    rows.insert({r.row, r.segment});
    columns.insert({c.row, c.segment});
    for (int e = 0; e < 4; ++e) {
      const int row = product_row(lane, e), column = product_column(lane, e);
      expect(row >= 0 && row < 16 && column >= 0 && column < 8, "outside the product", lane);
      numbers.insert({row, column});
    }
  }
  expect(rows.size() == 32 && columns.size() == 32 && numbers.size() == 128, "not all covered", 0);
}

// A schedule visits, tile by tile, all chunks of the scores and then those of its slab.
void check_schedule() {
  for (int64_t tiles = 0; tiles < 4; ++tiles)
    for (int64_t chunks = 1; chunks < 6; ++chunks)
      for (int64_t slab_first = 0; slab_first < chunks; ++slab_first)
        for (int64_t slab = 0; slab <= chunks - slab_first; ++slab) {
          ChunkSchedule schedule{tiles, chunks, slab_first, slab};
          for (int64_t tile = 0; tile < tiles; ++tile)
            for (int64_t step = 0; step < chunks + slab; ++step, schedule.advance()) {
              const bool score = step < chunks;
              expect(!schedule.done() && schedule.tile == tile, "tile", tile);
              expect(schedule.is_score() == score, "kind of chunk", step);
              expect(schedule.chunk() == (score ? step : slab_first + step - chunks), "chunk",
                     step);
            }
          expect(schedule.done(), "the schedule goes on", tiles);
        }
}

// An operand holds all rows and elements, and whole tiles and chunks.
void check_operands() {
  for (int bytes : {2, 4})
    for (int64_t rows = 1; rows < 300; ++rows)
      for (int64_t dim = 1; dim < 140; ++dim) {
        const OperandShape shape(rows, dim, bytes, 2);
        expect(shape.num_rows >= rows && shape.num_rows % kMmaTileRows == 0, "rows", rows);
        expect(shape.num_rows - rows < kMmaTileRows, "too many rows", rows);
        expect(shape.row_bytes >= dim * bytes && shape.row_bytes % kChunkBytes == 0, "width", dim);
        expect(shape.row_bytes - dim * bytes < kChunkBytes, "too wide", dim);
      }
  const OperandShape large(int64_t{1} << 20, 2048, 2, 2);
  expect(large.num_bytes() == int64_t{1} << 33, "a large operand's bytes", large.num_bytes());
}

// Every tile of columns belongs to one split, and no split is without negatives.
void check_splits() {
  for (int64_t rows = 1; rows < 50000; rows += 1 + rows / 7)
    for (int64_t columns = 4; columns < 50000; columns += 1 + columns / 5)
      for (int64_t slabs = 1; slabs < 5; ++slabs) {
        const ColumnSplits splits(rows, columns, slabs);
        const int64_t blocks = (rows + kMmaTileRows - 1) / kMmaTileRows * slabs;
        expect(splits.count == 1 || splits.count * blocks <= ColumnSplits::kBlocks, "blocks", rows);
        expect(splits.begin(0) == 0 && splits.end(splits.count - 1) == splits.num_tiles, "all",
               columns);
        for (int split = 0; split < splits.count; ++split) {
          const int64_t first = int64_t{splits.begin(split)} * kMmaTileColumns;
          const int64_t last = int64_t{splits.end(split)} * kMmaTileColumns;
          expect((last < columns ? last : columns) - first > 2, "too few columns", columns);
        }
      }
  expect(ColumnSplits(512, 512, 1).count > 1 && ColumnSplits(4096, 4096, 1).count > 1, "one", 0);
}

// Every pair of rows belongs to one pair of bands, and every row's places are written once.
void check_bands() {
  for (int64_t rows : {1, 127, 128, 129, 1000, 2816, 4100})
    for (int64_t band_rows : {128, 256, 1024, 8192}) {
      const BandPairs bands(rows, band_rows);
      const int n = bands.num_bands;
      std::vector<int> written(static_cast<size_t>(n * n));
      for (int i = 0; i < bands.count(); ++i) {
        const auto [first, second] = bands.pair(i);
        expect(0 <= first && first <= second && second < n, "pair", i);
        ++written[static_cast<size_t>(first * n + second)];
        if (first != second) ++written[static_cast<size_t>(second * n + first)];
      }
      for (const int times : written) expect(times == 1, "places", rows);
      expect(bands.begin(0) == 0 && bands.end(n - 1) == rows, "all rows", rows);
      for (int band = 0; band < n; ++band) {
        expect(bands.begin(band) < bands.end(band), "a band without rows", band);
        expect(bands.begin(band) % kMmaTileRows == 0, "a band within a tile", band);
      }
    }
  for (int64_t rows = 2; rows < int64_t{1} << 31; rows += 2 + rows / 50 * 2) {
    const int64_t band_rows = BandPairs::usual_band_rows(rows);
    if (band_rows == 0) {
      expect(rows < 4096, "few rows", rows);
      continue;
    }
    const BandPairs bands(rows, band_rows);
    expect(band_rows % kMmaTileRows == 0 && bands.count() >= ColumnSplits::kBlocks, "bands", rows);
    expect(bands.num_bands <= BandPairs::kMostBands, "more memory than said", rows);
  }
}

// Ranges of shared memory, aligned, apart from one another, and nothing beyond them.
struct Ranges {
  std::vector<bool> taken;

  explicit Ranges(int num_bytes) : taken(static_cast<size_t>(num_bytes)) {}
  void take(int begin, int count) {
    expect(begin % kSegmentBytes == 0, "range not aligned", begin);
    for (int byte = begin; byte < begin + count; ++byte) {
      const bool inside = byte >= 0 && byte < static_cast<int>(taken.size());
      expect(inside && !taken[static_cast<size_t>(byte)], "byte outside or taken twice", byte);
      if (inside) taken[static_cast<size_t>(byte)] = true;
    }
  }
  void expect_all() const {
    for (size_t byte = 0; byte < taken.size(); ++byte) expect(taken[byte], "byte unused", byte);
  }
};

void check_shared_memory() {
  for (int parts : {1, 2}) {
    for (int chunks = 1; chunks < 16; ++chunks) {
      const ResidentLayout layout{chunks, parts};
      Ranges ranges(layout.num_bytes());
      for (int chunk = 0; chunk < chunks; ++chunk) {
        ranges.take(layout.rows(chunk), parts * kRowsChunkBytes);
        for (int stage = 0; stage < 2; ++stage)
          ranges.take(layout.columns(stage, chunk), parts * kColumnsChunkBytes);
      }
      for (int stage = 0; stage < 2; ++stage) ranges.take(layout.weights(stage), 4 * 64);
      ranges.expect_all();
    }
    const StreamedLayout layout{parts};
    Ranges ranges(layout.num_bytes());
    for (int stage = 0; stage < 2; ++stage) {
      ranges.take(layout.rows(stage), parts * kRowsChunkBytes);
      ranges.take(layout.columns(stage), parts * kColumnsChunkBytes);
    }
    ranges.expect_all();
    expect(layout.num_bytes() <= 48 * 1024, "more than every device has", parts);
  }
}

// What a row leaves out: itself, its positive, and what is no column; never anything else.
void check_left_out() {
  static_assert(kMmaTileColumns == 64, "a tile's columns are a word's bits");
  for (int num = 4; num < 200; num += 2) {
    const Contrast square{{num, 1}, {num, 1}};
    for (int row = 0; row < num; ++row) {
      const LeftOut left_out(square, row);
      int64_t visited = 0;
      for (int first = 0; first < num; first += kMmaTileColumns) {
        bool any = false;
        for (int column = first; column < first + kMmaTileColumns; ++column) {
          const bool expected = column >= num || column == row || column == (row + num / 2) % num;
          expect(left_out(column) == expected, "left out", column);
          expect((left_out.bits(first) >> (column - first) & 1) == expected, "bit", column);
          any = any || expected;
          visited += !expected;
        }
        expect(left_out.among(first) == any, "among", first);
      }
      expect(visited == num - 2, "negatives", row);
    }
    const LeftOut padding(square, num);
    for (int first = 0; first < num; first += kMmaTileColumns)
      expect(padding(first) && padding.among(first) && padding.bits(first) == ~uint64_t{0},
             "a row of the padding", num);
  }
}

}  // namespace

int main() {
  check_chunks();
  check_lanes();
  check_schedule();
  check_operands();
  check_splits();
  check_bands();
  check_shared_memory();
  check_left_out();
  return faults == 0 ? 0 : 1;
}
