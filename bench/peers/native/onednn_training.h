// A training step of a network of linear layers, as one writes it on oneDNN: its inner products in the layouts that it
// likes best, relu as their post-operation, and loops for the loss, the mask of relu and Adam.
#pragma once
#include <math.h>

#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

namespace onednn {

using namespace dnnl;

inline size_t floatsOf(const memory& m) { return m.get_desc().get_size() / sizeof(float); }
inline float* valuesOf(const memory& m) { return static_cast<float*>(m.get_data_handle()); }

/** One linear layer: out = x·wᵀ + b, and its three gradients. */
class Layer {
 public:
  memory out, delta;  // [batch, outputs]

  Layer(const engine& cpu, stream& queue, long batch, long inputs, long outputs, bool relu, bool first, float* weight,
        const float* bias)
      : relu_(relu) {
    using Type = memory::data_type;
    using Tag = memory::format_tag;
    const memory::desc x({batch, inputs}, Type::f32, Tag::ab), y({batch, outputs}, Type::f32, Tag::ab);
    const memory::desc any({outputs, inputs}, Type::f32, Tag::any), b({outputs}, Type::f32, Tag::a);
    primitive_attr attributes;
    if (relu) {
      post_ops after;
#if DNNL_VERSION_MAJOR >= 3
      after.append_eltwise(algorithm::eltwise_relu, 0, 0);
#else
      after.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
#endif
      attributes.set_post_ops(after);
    }
#if DNNL_VERSION_MAJOR >= 3
    const inner_product_forward::primitive_desc forward(cpu, prop_kind::forward_training, x, any, b, y, attributes);
    const inner_product_backward_weights::primitive_desc weights(cpu, x, any, b, y, forward);
    const inner_product_backward_data::primitive_desc data(cpu, x, any, y, forward);
#else
    const inner_product_forward::primitive_desc forward({prop_kind::forward_training, x, any, b, y}, attributes, cpu);
    const inner_product_backward_weights::primitive_desc weights({x, any, b, y}, cpu, forward);
    const inner_product_backward_data::primitive_desc data({x, any, y}, cpu, forward);
#endif
    forward_ = inner_product_forward(forward);
    weights_ = inner_product_backward_weights(weights);
    if (!first) data_ = inner_product_backward_data(data);

    out = memory(y, cpu);
    delta = memory(y, cpu);
    weight_ = memory(forward.weights_desc(), cpu);
    memory given({{outputs, inputs}, Type::f32, Tag::ab}, cpu, weight);
    reorder(given, weight_).execute(queue, given, weight_);
    bias_ = memory(b, cpu);
    std::copy(bias, bias + outputs, valuesOf(bias_));
    biasGradient_ = memory(b, cpu);
    gradient_ = memory(weights.diff_weights_desc(), cpu);
    gradientAsWeight_ = same(gradient_, weight_) ? gradient_ : memory(weight_.get_desc(), cpu);
    if (!first) weightForData_ = data.weights_desc() == weight_.get_desc() ? weight_ : memory(data.weights_desc(), cpu);
    if (!same(gradient_, gradientAsWeight_)) toWeight_ = reorder(gradient_, gradientAsWeight_);
    if (!first && !same(weight_, weightForData_)) toData_ = reorder(weight_, weightForData_);
    moments_.assign(2 * (floatsOf(weight_) + outputs), 0.0f);
    queue.wait();
  }

  void forward(stream& queue, memory& x) {
    forward_.execute(queue,
                     {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight_}, {DNNL_ARG_BIAS, bias_}, {DNNL_ARG_DST, out}});
  }

  /** From `delta`, which is the gradient of `out`, to the parameters' and to `below`, the gradient of x, if there is one. */
  void backward(stream& queue, memory& x, memory* below) {
    if (relu_) {
      float* d = valuesOf(delta);
      const float* y = valuesOf(out);
      const long n = floatsOf(out);
#pragma omp parallel for simd
      for (long i = 0; i < n; i++) d[i] = y[i] > 0 ? d[i] : 0;
    }
    weights_.execute(queue, {{DNNL_ARG_SRC, x},
                             {DNNL_ARG_DIFF_DST, delta},
                             {DNNL_ARG_DIFF_WEIGHTS, gradient_},
                             {DNNL_ARG_DIFF_BIAS, biasGradient_}});
    if (toWeight_) toWeight_.execute(queue, gradient_, gradientAsWeight_);
    if (!below) return;
    if (toData_) toData_.execute(queue, weight_, weightForData_);
    data_.execute(queue,
                  {{DNNL_ARG_DIFF_DST, delta}, {DNNL_ARG_WEIGHTS, weightForData_}, {DNNL_ARG_DIFF_SRC, *below}});
  }

  void update(float size, float root) {
    const size_t n = floatsOf(weight_);
    adam(valuesOf(weight_), valuesOf(gradientAsWeight_), moments_.data(), n, size, root);
    adam(valuesOf(bias_), valuesOf(biasGradient_), moments_.data() + 2 * n, floatsOf(bias_), size, root);
  }

 private:
  bool relu_;
  inner_product_forward forward_;
  inner_product_backward_weights weights_;
  inner_product_backward_data data_;
  reorder toWeight_, toData_;
  memory weight_, bias_, gradient_, biasGradient_, gradientAsWeight_, weightForData_;
  std::vector<float> moments_;

  static bool same(const memory& a, const memory& b) { return a.get_desc() == b.get_desc(); }

  /** Kingma and Ba 2015, section 2, with both corrections drawn out of the loop. */
  static void adam(float* w, const float* g, float* moments, long n, float size, float root) {
    float *m = moments, *v = moments + n;
#pragma omp parallel for simd
    for (long i = 0; i < n; i++) {
      m[i] = 0.9f * m[i] + 0.1f * g[i];
      v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
      w[i] -= size * m[i] / (sqrtf(v[i]) * root + 1e-8f);
    }
  }
};

class Training {
 public:
  /** Losses of the steps so far that are asked for. */
  std::vector<float> losses;

  Training(std::vector<long> sizes, long batch, long batches, const float* x, const int32_t* labels,
           const std::vector<float*>& weights, const std::vector<float*>& biases)
      : batch_(batch), classes_(sizes.back()), labels_(labels) {
    for (long i = 0; i < batches; i++)
      inputs_.emplace_back(memory::desc({batch, sizes[0]}, memory::data_type::f32, memory::format_tag::ab), cpu_,
                           const_cast<float*>(x) + i * batch * sizes[0]);
    for (size_t i = 0; i + 1 < sizes.size(); i++)
      layers_.push_back(std::make_unique<Layer>(cpu_, queue_, batch, sizes[i], sizes[i + 1], i + 2 < sizes.size(),
                                                i == 0, weights[i], biases[i]));
  }

  float step() {
    memory& input = inputs_[at_];
    for (size_t i = 0; i < layers_.size(); i++) layers_[i]->forward(queue_, i ? layers_[i - 1]->out : input);
    const float loss = crossEntropy(labels_ + at_ * batch_);
    for (size_t i = layers_.size(); i-- > 0;)
      layers_[i]->backward(queue_, i ? layers_[i - 1]->out : input, i ? &layers_[i - 1]->delta : nullptr);
    steps_++;
    const float size = 1e-3 / (1 - pow(0.9, steps_)), root = 1 / sqrt(1 - pow(0.999, steps_));
    for (auto& layer : layers_) layer->update(size, root);
    at_ = (at_ + 1) % inputs_.size();
    return loss;
  }

 private:
  engine cpu_{engine::kind::cpu, 0};
  stream queue_{cpu_};
  long batch_, classes_, steps_ = 0;
  const int32_t* labels_;
  std::vector<memory> inputs_;
  std::vector<std::unique_ptr<Layer>> layers_;
  size_t at_ = 0;

  /** The mean over the batch; leaves its gradient in the last layer's delta. */
  float crossEntropy(const int32_t* labels) {
    const float* out = valuesOf(layers_.back()->out);
    float* delta = valuesOf(layers_.back()->delta);
    float loss = 0;
    for (long r = 0; r < batch_; r++) {
      const float* o = out + r * classes_;
      float* d = delta + r * classes_;
      float top = o[0], sum = 0;
      for (long c = 1; c < classes_; c++) top = fmaxf(top, o[c]);
      for (long c = 0; c < classes_; c++) sum += d[c] = expf(o[c] - top);
      loss += top + logf(sum) - o[labels[r]];
      for (long c = 0; c < classes_; c++) d[c] /= sum * batch_;
      d[labels[r]] -= 1.0f / batch_;
    }
    return loss / batch_;
  }
};

}  // namespace onednn
