// oneDNN: matrix products, with the right operand as it is, or in the layout that the library likes best, and training
// steps of linear layers.
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "onednn_training.h"
#include "serve.h"

using namespace dnnl;
using Type = memory::data_type;
using Tag = memory::format_tag;

namespace {

/** Products of a row of the harness, ready to run. */
struct Products {
  engine cpu{engine::kind::cpu, 0};
  stream queue{cpu};
  matmul primitive;
  std::vector<memory> left, right, out;
  long chain = 1;

  Products(bool packed, long m, long k, long n, long chain, float* a, long operands, float* b, long links, float* c,
           float* half)
      : chain(chain) {
    const memory::desc da({m, k}, Type::f32, Tag::ab), db({k, n}, Type::f32, Tag::ab), dc({m, n}, Type::f32, Tag::ab);
    const memory::desc any({k, n}, Type::f32, Tag::any);
#if DNNL_VERSION_MAJOR >= 3
    const matmul::primitive_desc description(cpu, da, packed ? any : db, dc);
#else
    const matmul::primitive_desc description(matmul::desc(da, packed ? any : db, dc), cpu);
#endif
    primitive = matmul(description);
    for (long i = 0; i < links; i++) {
      memory given(db, cpu, b + i * k * n);
      memory wanted = given;
      if (description.weights_desc() != db) {
        wanted = memory(description.weights_desc(), cpu);
        reorder(given, wanted).execute(queue, given, wanted);
      }
      right.push_back(wanted);
    }
    for (long i = 0; i < operands; i++) {
      left.emplace_back(da, cpu, a + i * m * k);
      out.emplace_back(dc, cpu, c + i * m * n);
    }
    if (chain > 1) {  // intermediate results are left operands of the same shape
      left.emplace_back(da, cpu, half);
      left.emplace_back(da, cpu, c);
      out.emplace_back(dc, cpu, half);
    }
    queue.wait();
  }

  void execute(memory& a, memory& b, memory& c) {
    primitive.execute(queue, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
  }

  void run(long repeats) {
    for (long r = 0; r < repeats; r++) {
      if (chain == 1) {
        const size_t o = r % out.size();
        execute(left[o], right[0], out[o]);
        continue;
      }
      // left: a, half, c; out: c, half. The last result lands in c.
      memory* from = &left[0];
      for (long i = 0; i < chain; i++) {
        const bool toHalf = (chain - 1 - i) % 2;
        execute(*from, right[i % right.size()], out[toHalf ? 1 : 0]);
        from = &left[toHalf ? 1 : 2];
      }
    }
    queue.wait();
  }
};

Products *plain, *packed;
float *a, *b, *c, *half;

void runPlain(long n) { plain->run(n); }
void runPacked(long n) { packed->run(n); }

onednn::Training* training;
std::vector<float*> held;  // what the training reads
/** The losses that are checked: of the first steps. */
float firstLosses[3];
bool asked = false;

void runTraining(long n) {
  if (!asked) {  // the harness asks for the output once, before it times
    asked = true;
    for (float& loss : firstLosses) loss = training->step();
    return;
  }
  float sum = 0;
  for (long i = 0; i < n; i++) sum += training->step();
  if (sum != sum) exit(4);
}

}  // namespace

static void releaseAll(void) {
  delete plain;
  delete packed;
  delete training;
  for (float* values : held) free(values);
  held.clear();
  training = nullptr;
  plain = packed = nullptr;
  free(a), free(b), free(c), free(half);
  a = b = c = half = nullptr;
}

/** The numbers of a request, kept until they are released. */
static float* hold(const char* request, const char* name, size_t count) {
  held.push_back(dataOf(request, name, count));
  return held.back();
}

static void prepareTraining(const char* request) {
  const char* at = strstr(request, "\"sizes\":[") + strlen("\"sizes\":[");
  std::vector<long> sizes;
  for (char* end; *at != ']'; at = *end == ',' ? end + 1 : end) sizes.push_back(strtol(at, &end, 10));
  const long batch = fieldOf(request, "batch", 0), batches = fieldOf(request, "batches", 0);
  const float* x = hold(request, "x", batches * batch * sizes[0]);
  const float* y = hold(request, "y", batches * batch);  // int32, of the same size
  std::vector<float*> weights, biases;
  for (size_t i = 0; i + 1 < sizes.size(); i++) {
    char name[16];
    snprintf(name, sizeof name, "w%zu", i);
    weights.push_back(hold(request, name, sizes[i] * sizes[i + 1]));
    name[0] = 'b';
    biases.push_back(hold(request, name, sizes[i + 1]));
  }
  training = new onednn::Training(sizes, batch, batches, x, reinterpret_cast<const int32_t*>(y), weights, biases);
  asked = false;
  add("", runTraining, firstLosses, 3, 0);
}

static void prepare(const char* request) {
  char kind[32];
  textOf(request, "kind", kind, sizeof kind);
  if (strcmp(kind, "mlp") == 0) return prepareTraining(request);
  const long m = fieldOf(request, "m", 0), k = fieldOf(request, "k", 0), n = fieldOf(request, "n", 0);
  const long chain = fieldOf(request, "chain", 1), operands = fieldOf(request, "operands", 1);
  const long links = fieldOf(request, "links", 1);
  a = dataOf(request, "a", operands * m * k);
  b = dataOf(request, "b", links * k * n);
  c = floats(operands * m * n);
  half = floats(m * n);
  plain = new Products(false, m, k, n, chain, a, operands, b, links, c, half);
  packed = new Products(true, m, k, n, chain, a, operands, b, links, c, half);
  add("", runPlain, c, m * n, 0);
  add("constant weight", runPacked, c, m * n, 0);
}

int main() {
  const dnnl_version_t* v = dnnl_version();
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
  return serve(version, "");
}
