// The float matrix product: how the work is cut in tasks, packed and handed to the tiles of simd/matmul.h.
//
// c is cut into row blocks (the height of a register tile) and panels (its width). A task owns some row blocks of some
// panels and goes through all of K, so no two tasks write to one element and every element is summed in one order
// whatever the tasks are: first within a slice of K, then slice by slice. Panels of b that are contiguous along N are
// packed by the first tile that reads them; a is read where it lies, unless its elements are not adjacent along K.
#include "gemm.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <type_traits>

#include "../core/errors.h"
#include "../core/threads.h"
#include "gemm_packing.h"

namespace nabla {
namespace {

using namespace packing;

constexpr int64_t kSliceBytes = 3200;       // of a row of a in a slice of K …
constexpr int64_t kDotSliceBytes = 4096;    // … and for dot products, or sums of rows of b
constexpr int64_t kGroupBytes = 256 << 10;  // of a while the panels pass by: a part of the L2 cache
constexpr int64_t kPanelsBytes = 2 << 20;   // of packed b that is kept for the next group
constexpr int64_t kNearBytes = 16 << 10;    // a part of the L1 cache
constexpr int64_t kBufferBytes = 128 << 10; // of c while it is formed in a buffer: a part of the L2 cache
constexpr int64_t kBlockBytes = 32 << 10;   // of c handed to an epilogue at a time
constexpr int64_t kKeptRows = 256;          // of a, beyond which packing b does not show
constexpr int64_t kKeptBytes = 16 << 10;    // of b, nor below this
constexpr int64_t kStreamWidth = 1024;      // columns of the result while the rows of b pass by
constexpr int64_t kStreamRows = 4;          // rows of a for which that beats tiles …
constexpr int64_t kStreamBytes = 8 << 20;   // … when b is likely to come from memory
constexpr double kParallelWork = 0.25e6;    // below this many floating-point operations threads cost more than they give
constexpr double kTaskWork = 1e6;           // a task worth handing out when there are more tasks than threads

thread_local Workspace workspace;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t rounded(int64_t n) { return (n + 63) & ~int64_t(63); }

// n things shared out evenly in `parts` parts.
struct Shares {
  int64_t base = 0, extra = 0;  // the first `extra` parts have one more
  Shares() = default;
  Shares(int64_t n, int64_t parts) : base(n), extra(0) {
    if (parts > 1) base = n / parts, extra = n % parts;
  }
  int64_t begin(int64_t i) const { return i * base + std::min(i, extra); }
  int64_t end(int64_t i) const { return begin(i + 1); }
};

// The product as it was given: gemm swaps operands and makes one product of a batch.
struct Original {
  bool swapped = false;
  int64_t foldedRows = 0, foldedCols = 0;  // of each product that was folded; 0: none

  // Tells the epilogue of a block of the product as it is now.
  template <typename T>
  void finish(const Epilogue& epilogue, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, T* block,
              int64_t blockRow, int64_t blockCol) const {
    if (swapped) std::swap(row, col), std::swap(rows, cols), std::swap(blockRow, blockCol);
    const int64_t heights = foldedRows > 0 ? foldedRows : row + rows, widths = foldedCols > 0 ? foldedCols : col + cols;
    for (int64_t i = row; i < row + rows;) {
      const int64_t below = std::min(row + rows, i - i % heights + heights);
      for (int64_t j = col; j < col + cols;) {
        const int64_t right = std::min(col + cols, j - j % widths + widths);
        epilogue.run(epilogue.context, batch + i / heights + j / widths, i % heights, below - i, j % widths, right - j,
                     block + (i - row) * blockRow + (j - col) * blockCol, blockRow, blockCol);
        j = right;
      }
      i = below;
    }
  }
};

template <typename S>
class Multiply {
  using T = Compute<S>;
  static constexpr bool kWiden = !std::is_same_v<S, T>;
  static constexpr int64_t kSize = sizeof(T);

 public:
  Multiply(const Product& product, const Original& given) : p(product), original(given), simd(kernels<T>()) {}

  void run() {
    if (p.K == 0) return clear();
    const double work = 2.0 * double(p.batch) * double(p.M) * double(p.N) * double(p.K);
    const int threads = work < kParallelWork ? 1 : getThreads();
    if (!kWiden && preferStreams()) {
      planStreams(work, threads);
    } else if (!kWiden && p.a.col == 1 && p.b.row == 1 && preferDot()) {
      planDot(work, threads);
    } else {
      planTiles(work, threads);
    }
    if (p.kept && piece == &Multiply::tilesPiece) keepPanels();
    const int64_t pieces = rowParts * colParts;
    const int64_t perTask = threads == 1 ? pieces * p.batch
                                         : std::max<int64_t>(1, int64_t(kParallelWork / (work / double(pieces * p.batch))));
    std::atomic<bool> failed{false};
    const auto body = [&](int64_t task) {
      char* memory = workspace.get(workBytes);
      if (!memory) {
        failed = true;
        return;
      }
      const int64_t end = std::min(pieces * p.batch, (task + 1) * perTask);
      for (int64_t i = task * perTask; i < end; i++) (this->*piece)(i / pieces, i % pieces, memory);
    };
    const int64_t tasks = ceilDiv(pieces * p.batch, perTask);
    if (tasks == 1) body(0);
    else parallel(tasks, body);
    if (failed) throw Error("MEMORY", "matmul: no memory for packing buffers");
  }

 private:
  const Product& p;
  const Original& original;
  const MatmulKernels<T>& simd;
  void (Multiply::*piece)(int64_t batch, int64_t index, char* memory) const = nullptr;
  int64_t rowParts = 1, colParts = 1;  // pieces of one product
  int64_t workBytes = 64;
  int64_t slices = 1;  // of K
  // Tiles only.
  int64_t blocks = 0, panels = 0;  // row blocks and panels of c
  Shares rowsOf, vectorsOf;        // … and how high and wide they are
  int64_t slice = 0;               // of K, the longest
  int64_t group = 0;               // row blocks that go through the panels together
  int64_t panelSize = 0;           // elements of a packed panel
  bool aInPlace = false, bInPlace = false;  // tiles read them where they lie
  const T* kept = nullptr;         // all panels of b, slice by slice
  bool viaBuffer = false;          // c is formed in a buffer: not of type T, not contiguous along N, or never stored
  bool depthFirst = false;         // all slices of a group before the next group
  int64_t bBytes = 0, aBytes = 0, stageBytes = 0, bufferBytes = 0;

  const S* a(int64_t batch) const { return static_cast<const S*>(p.a.data) + batch * p.a.batch; }
  const S* b(int64_t batch) const { return static_cast<const S*>(p.b.data) + batch * p.b.batch; }
  S* c(int64_t batch) const {
    return const_cast<S*>(static_cast<const S*>(p.c.data)) + batch * p.c.batch;
  }

  // Rows and columns of c that are ready in a buffer, contiguous along N, go where they belong. `spare`: as much memory,
  // for an epilogue that wants them contiguous along M.
  void store(int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, T* block, int64_t pitch,
             char* spare) const {
    if (!p.epilogue) {
      for (int64_t i = 0; i < rows; i++)
        narrow(cols, block + i * pitch, c(batch) + (row + i) * p.c.row + col * p.c.col, p.c.col, p.accumulate);
      return;
    }
    const int64_t step = std::max<int64_t>(1, kBlockBytes / (cols * kSize));
    for (int64_t i = 0; i < rows; i += step, block += step * pitch) {
      const int64_t n = std::min(step, rows - i);
      if (p.c.col != 1 && p.c.row == 1) {
        T* const turned = reinterpret_cast<T*>(spare);
        simd.transpose(cols, n, block, pitch, turned, n);
        original.finish(*p.epilogue, batch, row + i, n, col, cols, turned, 1, n);
      } else {
        original.finish(*p.epilogue, batch, row + i, n, col, cols, block, pitch, 1);
      }
    }
  }

  void clear() const {
    if (p.accumulate) return;
    if (p.epilogue) {
      T* const block = reinterpret_cast<T*>(workspace.get(2 * kBlockBytes));
      if (!block) throw Error("MEMORY", "matmul: no memory for a block of zeros");
      constexpr int64_t kMost = kBlockBytes / kSize;
      const int64_t cols = std::min(p.N, kMost), rows = std::min(p.M, kMost / cols);
      for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t i = 0; i < p.M; i += rows) {
          for (int64_t j = 0; j < p.N; j += cols) {
            std::fill_n(block, rows * cols, T(0));
            store(n, i, std::min(rows, p.M - i), j, std::min(cols, p.N - j), block, cols,
                  reinterpret_cast<char*>(block + kMost));
          }
        }
      }
      return;
    }
    for (int64_t n = 0; n < p.batch; n++) {
      for (int64_t i = 0; i < p.M; i++) {
        for (int64_t j = 0; j < p.N; j++) c(n)[i * p.c.row + j * p.c.col] = convert<S>(T(0));
      }
    }
  }

  int64_t wantedPieces(double work, int threads) const {
    if (threads == 1 || p.batch >= 4 * threads) return 1;
    const double rounds = std::min(4.0, work / (kTaskWork * threads));  // as many pieces for each thread
    return ceilDiv(std::max<int64_t>(1, std::llround(rounds)) * threads, p.batch);
  }

  // ---- Very few rows: sums of rows of b, or dot products with its columns; b is read once, in long streams. ----

  bool preferStreams() const {
    if (p.b.col == 1) return p.M <= kStreamRows && (p.M == 1 || p.N * p.K * kSize >= kStreamBytes);
    return p.M == 1 && p.b.row == 1;
  }

  void planStreams(double work, int threads) {
    colParts = std::min(ceilDiv(p.N, 16 * simd.lanes), wantedPieces(work, threads));
    workBytes = p.M * (rounded(p.K * kSize) + 3 * kStreamWidth * kSize);
    piece = &Multiply::streamsPiece;
  }

  void streamsPiece(int64_t batch, int64_t index, char* memory) const {
    if constexpr (!kWiden) {
      const T* x = a(batch);
      int64_t xRow = p.a.row;
      if (p.a.col != 1) {
        T* const copy = reinterpret_cast<T*>(memory);
        xRow = rounded(p.K * kSize) / kSize;
        for (int64_t i = 0; i < p.M; i++) widen(p.K, x + i * p.a.row, p.a.col, copy + i * xRow);
        x = copy;
      }
      // Borders on whole cache lines keep two threads from writing to one.
      const Shares lines(ceilDiv(p.N, 16), colParts);
      const int64_t j0 = lines.begin(index) * 16, j1 = std::min(p.N, lines.end(index) * 16);
      T* const y = p.epilogue ? nullptr : c(batch);
      if (p.b.col != 1 && !p.epilogue) {
        simd.dot(1, j1 - j0, p.K, x, 0, b(batch) + j0 * p.b.col, p.b.col, y + j0 * p.c.col, 0, p.c.col, p.accumulate);
        return;
      }
      T* const sums = reinterpret_cast<T*>(memory + p.M * rounded(p.K * kSize));
      T* const block = sums + p.M * kStreamWidth;
      char* const spare = reinterpret_cast<char*>(block + p.M * kStreamWidth);
      for (int64_t j = j0; j < j1; j += kStreamWidth) {
        const int64_t n = std::min(kStreamWidth, j1 - j);
        if (p.b.col != 1) {
          simd.dot(1, n, p.K, x, 0, b(batch) + j * p.b.col, p.b.col, block, 0, 1, false);
        } else {
          for (int64_t k = 0; k < p.K; k += kDotSliceBytes / kSize) {
            simd.combine(p.M, n, std::min(kDotSliceBytes / kSize, p.K - k), x + k, xRow, b(batch) + k * p.b.row + j,
                         p.b.row, sums, kStreamWidth);
            for (int64_t i = 0; i < p.M; i++) {
              if (p.epilogue) narrow(n, sums + i * kStreamWidth, block + i * kStreamWidth, 1, k > 0);
              else narrow(n, sums + i * kStreamWidth, y + i * p.c.row + j * p.c.col, p.c.col, p.accumulate || k > 0);
            }
          }
        }
        if (p.epilogue) store(batch, 0, p.M, j, n, block, kStreamWidth, spare);
      }
    }
  }

  // ---- Few rows times a transposed matrix: dot products, which need no packing, are cheaper than transposing b. ----

  // Measured: what decides is the cost of adding up the lanes of K/lanes steps against that of M uses of a packed b.
  bool preferDot() const {
    return p.K >= 4 * simd.lanes &&
           (220 * p.M <= std::min<int64_t>(p.K, 1200) * simd.lanes || (p.N < simd.lanes && p.K >= 8 * simd.lanes));
  }

  void planDot(double work, int threads) {
    const int64_t want = wantedPieces(work, threads);
    slices = ceilDiv(p.K * kSize, kDotSliceBytes);
    rowParts = ceilDiv(p.M * ceilDiv(p.K, slices) * kSize, kGroupBytes);  // rows of a stay in the L2 cache
    colParts = std::min(ceilDiv(p.N, 16), ceilDiv(want, rowParts));
    rowParts = std::min(p.M, std::max(rowParts, ceilDiv(want, colParts)));
    if (p.epilogue) {  // a piece is a block
      rowParts = std::max(rowParts, ceilDiv(p.M * 16 * kSize, kBlockBytes));
      const int64_t lines = std::max<int64_t>(1, kBlockBytes / (ceilDiv(p.M, rowParts) * 16 * kSize));
      colParts = std::max(colParts, ceilDiv(ceilDiv(p.N, 16), lines));
      workBytes = 2 * kBlockBytes;
    }
    piece = &Multiply::dotPiece;
  }

  void dotPiece(int64_t batch, int64_t index, char* memory) const {
    if constexpr (!kWiden) {
      const int64_t r = index / colParts, q = index % colParts;
      const Shares rows(p.M, rowParts), lines(ceilDiv(p.N, 16), colParts), depth(p.K, slices);
      const int64_t i0 = rows.begin(r), i1 = rows.end(r);
      const int64_t j0 = lines.begin(q) * 16, j1 = std::min(p.N, lines.end(q) * 16);
      const T* const x = a(batch) + i0 * p.a.row;
      const T* const y = b(batch) + j0 * p.b.col;
      T* to = reinterpret_cast<T*>(memory);
      int64_t toRow = p.c.row, toCol = p.c.col;
      if (!p.epilogue) to = c(batch) + i0 * toRow + j0 * toCol;
      else if (toCol != 1 && toRow == 1) toCol = i1 - i0;
      else toRow = j1 - j0, toCol = 1;
      for (int64_t s = 0; s < slices; s++) {
        const int64_t k0 = depth.begin(s);
        simd.dot(i1 - i0, j1 - j0, depth.end(s) - k0, x + k0, p.a.row, y + k0, p.b.col, to, toRow, toCol,
                 p.accumulate || s > 0);
      }
      if (p.epilogue) original.finish(*p.epilogue, batch, i0, i1 - i0, j0, j1 - j0, to, toRow, toCol);
    }
  }

  // ---- Everything else: tiles. ----

  int64_t firstRow(int64_t block) const { return rowsOf.begin(block); }
  int64_t firstColumn(int64_t panel) const { return std::min(p.N, vectorsOf.begin(panel) * simd.lanes); }

  void planTiles(double work, int threads) {
    piece = &Multiply::tilesPiece;
    const int64_t vectors = ceilDiv(p.N, simd.lanes);
    panels = ceilDiv(vectors, simd.vectors);
    const int64_t widest = ceilDiv(vectors, panels);
    const int64_t tileRows = simd.rows[widest];
    blocks = ceilDiv(p.M, tileRows);
    rowsOf = Shares(p.M, blocks);
    vectorsOf = Shares(vectors, panels);
    slices = ceilDiv(p.K, kSliceBytes / kSize);
    slice = ceilDiv(p.K, slices);
    panelSize = slice * widest * simd.lanes;
    viaBuffer = kWiden || p.c.col != 1 || p.epilogue;
    // Small operands are read fast enough anywhere in the L1 cache (b as whole vectors, and aligned ones).
    const int64_t aSpan = std::abs(p.a.row) * (p.M - 1) + std::abs(p.a.col) * (p.K - 1) + 1;
    const int64_t bRowBytes = p.b.row * kSize;
    aInPlace = !kWiden && (p.a.col == 1 || aSpan * kSize <= kNearBytes);
    bInPlace = !kWiden && p.b.col == 1 && p.N % simd.lanes == 0 && std::abs(bRowBytes) * p.K <= 2 * kNearBytes &&
               (reinterpret_cast<uintptr_t>(p.b.data) | static_cast<uintptr_t>(bRowBytes)) % 64 == 0;

    // Splitting rows packs b once more for every part, splitting columns a: weigh that against idle threads.
    const int64_t want = wantedPieces(work, threads);
    if (want > 1) {
      const double perB = (!kWiden && p.b.col == 1 ? 3.0 : 20.0) / double(p.M);
      const double perA = (!kWiden && p.a.col == 1 ? 2.0 : 10.0) / double(p.N);
      double best = 0;
      for (int64_t rows = 1; rows <= std::min(want, blocks); rows++) {
        const int64_t cols = std::min(ceilDiv(want, rows), panels);
        const double rounds = double(ceilDiv(rows * cols * p.batch, threads)) * double(threads);
        const double busy = double(ceilDiv(blocks, rows) * ceilDiv(panels, cols)) * rounds / double(blocks * panels * p.batch);
        const double cost = busy + perB * double(rows) + perA * double(cols);
        if (best == 0 || cost < best) best = cost, rowParts = rows, colParts = cols;
      }
    }
    const int64_t panelWidth = widest * simd.lanes;
    const int64_t taskBlocks = ceilDiv(blocks, rowParts);
    group = std::max<int64_t>(1, kGroupBytes / (slice * kSize * tileRows));
    if (viaBuffer) {
      const int64_t rows = std::min<int64_t>(p.M, 48);
      colParts = std::max(colParts, ceilDiv(panels, std::max<int64_t>(1, kBufferBytes / (rows * panelWidth * kSize))));
      const int64_t columns = ceilDiv(panels, colParts) * panelWidth;
      group = std::min(group, std::max<int64_t>(1, kBufferBytes / (tileRows * columns * kSize)));
    }
    if (taskBlocks <= group + group / 2) group = taskBlocks;
    const bool single = group == taskBlocks;
    // The buffer is for the rows of a group: all slices of one follow one another, and all packed panels are kept.
    depthFirst = viaBuffer && slices > 1;
    const int64_t kept = depthFirst ? slices : 1;
    const int64_t keep = std::max<int64_t>(1, kPanelsBytes / (panelSize * kSize * kept));
    if (!single) colParts = std::max(colParts, ceilDiv(panels, keep));
    const int64_t taskPanels = ceilDiv(panels, colParts);

    bBytes = rounded(panelSize * kSize * (single ? 1 : taskPanels * kept));
    aBytes = aInPlace ? 0 : rounded(group * tileRows * (slice + 16) * kSize);
    stageBytes = !kWiden ? 0 : std::max(aBytes, rounded(panelWidth * (slice + 16) * kSize));
    bufferBytes = viaBuffer ? rounded(std::min(p.M, group * tileRows) * taskPanels * panelWidth * kSize) : 0;
    const int64_t spare = !p.epilogue ? 0 : std::max(kBlockBytes, taskPanels * panelWidth * kSize);
    workBytes = bBytes + aBytes + stageBytes + bufferBytes + spare;
  }

  // A slice of some rows of a as the tiles read it: row block after row block, or row-major.
  struct Rows {
    const T* data;
    int64_t row, col;  // strides inside a block
    int64_t k;         // interleaved blocks follow one another, k elements a row; 0: where a lies
    const T* block(int64_t rowsBefore) const { return data + rowsBefore * (k ? k : row); }
  };

  Rows packA(const S* src, int64_t block0, int64_t block1, int64_t k, char* packed, char* stage) const {
    int64_t row = p.a.row, col = p.a.col;
    const int64_t rows = firstRow(block1) - firstRow(block0);
    T* const to = reinterpret_cast<T*>(packed);
    const T* from;
    if constexpr (kWiden) {
      if (row == 1 && col != 1 && rows > 1) {
        T* const columns = reinterpret_cast<T*>(stage);
        for (int64_t i = 0; i < k; i++) widen(rows, src + i * col, 1, columns + i * rows);
        from = columns, col = rows;
      } else {
        const int64_t pitch = k + 16;
        for (int64_t i = 0; i < rows; i++) widen(k, src + i * row, col, to + i * pitch);
        from = to, row = pitch, col = 1;
      }
    } else {
      from = src;
    }
    if (col == 1 || aInPlace) return {from, row, col, 0};
    // A few elements of every block at a time, so that lines of a are read while they are in the cache.
    const int64_t first = firstRow(block0);
    for (int64_t k0 = 0; k0 < k; k0 += 16) {
      const int64_t n = std::min<int64_t>(16, k - k0);
      if (row == 1) prefetch(from + (k0 + n) * col, std::min<int64_t>(16, k - k0 - n), col, rows);
      for (int64_t r = block0; r < block1; r++) {
        const int64_t before = firstRow(r) - first, height = firstRow(r + 1) - firstRow(r);
        interleave(height, n, from + before * row + k0 * col, row, col, to + before * k + k0 * height);
      }
    }
    return {to, 0, 0, k};
  }

  // Packs a panel of b that no tile can pack: width whole vectors, n of its columns real.
  void packB(const S* src, int64_t k, int64_t n, int64_t width, T* dst, char* stage) const {
    const int64_t row = p.b.row, col = p.b.col;
    if (row == 1 && col != 1) {
      if constexpr (kWiden) {
        T* columns = reinterpret_cast<T*>(stage);
        for (int64_t j = 0; j < n; j++) widen(k, src + j * col, 1, columns + j * (k + 16));
        simd.transpose(k, n, columns, k + 16, dst, width);
      } else {
        simd.transpose(k, n, src, col, dst, width);
      }
    } else {
      for (int64_t i = 0; i < k; i++) widen(n, src + i * row, col, dst + i * width);
    }
    if (n < width) {
      for (int64_t i = 0; i < k; i++) std::fill(dst + i * width + n, dst + (i + 1) * width, T(0));
    }
  }

  // The panels are the same for any number of threads.
  void keepPanels() {
    if constexpr (!kWiden) {
      if (p.batch != 1 || p.M > kKeptRows || p.K * p.N * kSize < kKeptBytes || p.b.generation == 0 || bInPlace) return;
      bool filled;
      T* const to = reinterpret_cast<T*>(p.kept->get(p.b.generation, slices * panels * panelSize * kSize, filled));
      kept = to;
      if (!to || filled) return;
      const Shares depthOf(p.K, slices);
      for (int64_t s = 0; s < slices; s++) {
        const int64_t k = depthOf.begin(s);
        for (int64_t panel = 0; panel < panels; panel++) {
          const int64_t col = firstColumn(panel), n = firstColumn(panel + 1) - col;
          packB(b(0) + k * p.b.row + col * p.b.col, depthOf.end(s) - k, n, ceilDiv(n, simd.lanes) * simd.lanes,
                to + (s * panels + panel) * panelSize, nullptr);
        }
      }
    }
  }

  void tilesPiece(int64_t batch, int64_t index, char* memory) const {
    char* const packedA = memory + bBytes;
    char* const stage = packedA + aBytes;
    T* const buffer = reinterpret_cast<T*>(stage + stageBytes);
    char* const spare = stage + stageBytes + bufferBytes;
    const int64_t r = index / colParts, q = index % colParts;
    const Shares blocksOf(blocks, rowParts), panelsOf(panels, colParts), depthOf(p.K, slices);
    const int64_t block0 = blocksOf.begin(r), block1 = blocksOf.end(r);
    const int64_t panel0 = panelsOf.begin(q), panel1 = panelsOf.end(q);
    const int64_t rows0 = firstRow(block0), rows1 = firstRow(block1);
    const int64_t cols0 = firstColumn(panel0), cols1 = firstColumn(panel1);
    if (rows0 == rows1 || cols0 == cols1) return;
    const int64_t groups = ceilDiv(block1 - block0, group);
    const Shares groupsOf(block1 - block0, groups);
    const int64_t pitch = (panel1 - panel0) * vectorsOf.end(0) * simd.lanes;  // of the buffer

    Tile<T> t;
    for (int64_t step = 0; step < slices * groups; step++) {
      const int64_t s = depthFirst ? step % slices : step / groups, g = depthFirst ? step / slices : step % groups;
      const int64_t k0 = depthOf.begin(s);
      t.k = depthOf.end(s) - k0;
      t.accumulate = s > 0 || (p.accumulate && !viaBuffer);
      const int64_t g0 = block0 + groupsOf.begin(g), g1 = block0 + groupsOf.end(g);
      const int64_t top = firstRow(g0);
      const Rows rows = packA(a(batch) + top * p.a.row + k0 * p.a.col, g0, g1, t.k, packedA, stage);
      for (int64_t panel = panel0; panel < panel1; panel++) {
        const int64_t col = firstColumn(panel), n = firstColumn(panel + 1) - col;
        const int64_t wide = ceilDiv(n, simd.lanes), width = wide * simd.lanes;
        T* const packed = reinterpret_cast<T*>(memory) +
                          (groups == 1 ? 0 : ((depthFirst ? s : 0) * (panel1 - panel0) + panel - panel0) * panelSize);
        const S* const src = b(batch) + k0 * p.b.row + col * p.b.col;
        bool packing = false;  // by the first tile
        t.b = packed;
        t.bRow = width * kSize;
        if (kept) {
          t.b = kept + (s * panels + panel) * panelSize;
        } else if (g == 0 || bInPlace) {
          if (kWiden || p.b.col != 1) {
            packB(src, t.k, n, width, packed, stage);
          } else if constexpr (!kWiden) {
            t.b = src;
            t.bRow = p.b.row * kSize;
            packing = !bInPlace;
            t.pack = packed;
            t.packRow = block1 - block0 == 1 ? 0 : width;
          }
        }
        t.tail = n - (wide - 1) * simd.lanes;
        for (int64_t block = g0; block < g1; block++) {
          const int64_t row = firstRow(block), height = firstRow(block + 1) - row;
          t.a = rows.block(row - top);
          t.aRow = (rows.k ? 1 : rows.row) * kSize;
          t.aCol = (rows.k ? height : rows.col) * kSize;
          if (viaBuffer) {
            t.c = buffer + (row - top) * pitch + (col - cols0);
            t.cRow = pitch;
          } else if constexpr (!kWiden) {
            t.c = c(batch) + row * p.c.row + col;
            t.cRow = p.c.row;
          }
          (packing ? simd.packing : simd.plain)[height - 1][wide - 1](t);
          if (packing) {
            packing = false;
            t.b = packed;
            t.bRow = width * kSize;
          }
        }
      }
      if (viaBuffer && s == slices - 1)
        store(batch, top, firstRow(g1) - top, cols0, cols1 - cols0, buffer, pitch, spare);
    }
  }
};

// cᵀ = bᵀ·aᵀ
void swapOperands(Product& p) {
  std::swap(p.M, p.N);
  std::swap(p.a, p.b);
  for (Matrix* m : {&p.a, &p.b, &p.c}) std::swap(m->row, m->col);
}

}  // namespace

char* KeptPanels::get(uint64_t generation, int64_t bytes, bool& filled) {
  filled = generation == generation_ && filled_;
  if (filled) return block_->data();
  const bool again = generation == generation_;
  generation_ = generation;
  filled_ = false;
  if (!again) return nullptr;
  try {
    if (!block_ || block_->bytes() != bytes) block_.reset(), block_ = std::make_unique<Block>(pool_, bytes);
  } catch (const Error&) {
    return nullptr;  // the product does without
  }
  filled_ = true;
  return block_->data();
}

void gemm(Product p) {
  if (p.batch == 0 || p.M == 0 || p.N == 0) return;
  Original original;
  // One product for all when only one operand has a batch and its rows follow one another.
  const auto fold = [&](int64_t& size) {
    if (p.batch > 1 && p.b.batch == 0 && p.a.batch == p.M * p.a.row && p.c.batch == p.M * p.c.row) {
      size = p.M;
      p.M *= p.batch;
      p.batch = 1;
    }
  };
  fold(original.foldedRows);
  swapOperands(p);
  fold(original.foldedCols);
  swapOperands(p);
  // Dimensions of size 1 may have any stride; 1 is the convenient one.
  if (p.M == 1) p.a.row = p.c.row = 1;
  if (p.N == 1) p.b.col = p.c.col = 1;
  if (p.K == 1) p.a.col = p.b.row = 1;
  // c contiguous along N is what tiles write; a single column is better a row; and a few columns are better rows when
  // that brings full vectors of a (transposed: contiguous along M), though c then goes through a buffer.
  const bool fewColumns = p.N <= 16 && p.M >= 64 && p.K >= 32 && p.a.row == 1 && p.a.col != 1;
  original.swapped = p.M > 1 && (p.N == 1 || (p.c.col != 1 && p.c.row == 1) || fewColumns);
  if (original.swapped) swapOperands(p);
  withFloat(p.type, [&](auto tag) { Multiply<typename decltype(tag)::type>(p, original).run(); });
}

void gemm(DType t, int64_t M, int64_t N, int64_t K, const void* a, int64_t aRow, int64_t aCol, const void* b,
          int64_t bRow, int64_t bCol, void* c, int64_t cRow, int64_t cCol, bool accumulate) {
  gemm({t, 1, M, N, K, {a, 0, aRow, aCol}, {b, 0, bRow, bCol}, {c, 0, cRow, cCol}, accumulate});
}

}  // namespace nabla
