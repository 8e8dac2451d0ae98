// Dense layers, activations, normalisation, shapes, merging, and the ways models are put together.

const ACTIVATIONS = [
  'elu', 'hardSigmoid', 'linear', 'logSoftmax', 'relu', 'relu6', 'selu', 'sigmoid', 'softmax', 'softplus', 'softsign',
  'tanh', 'swish', 'mish', 'gelu',
];

function dense(tf, units, options = {}) {
  return tf.layers.dense({ units, ...options });
}

export const cases = {
  dense_sequential: (tf) => ({
    model: tf.sequential({
      layers: [
        dense(tf, 6, { inputShape: [4], activation: 'relu' }),
        tf.layers.dropout({ rate: 0.4 }),
        dense(tf, 5, { useBias: false, activation: 'tanh' }),
        dense(tf, 3, { activation: 'softmax', kernelRegularizer: 'l1l2', kernelConstraint: 'nonNeg' }),
      ],
    }),
    shapes: [[5, 4]],
  }),

  activations: (tf) => {
    const input = tf.input({ shape: [3, 5], name: 'x' });
    const heads = ACTIVATIONS.map((activation) => tf.layers.activation({ activation, name: `act_${activation}` }).apply(input));
    const inDense = ACTIVATIONS.map((activation) => dense(tf, 4, { activation, name: `dense_${activation}` }).apply(input));
    return { model: tf.model({ inputs: input, outputs: [...heads, ...inDense] }), shapes: [[2, 3, 5]] };
  },

  // TensorFlow.js writes the activation gelu_new, and does not find it when it loads the file.
  activation_gelu_new: (tf) => ({
    model: tf.sequential({ layers: [dense(tf, 4, { inputShape: [3], activation: 'gelu_new' })] }),
    shapes: [[4, 3]],
    reloads: false,
  }),

  activation_layers: (tf) => {
    const input = tf.input({ shape: [3, 4, 5], name: 'x' });
    const layers = [
      tf.layers.reLU({ name: 'relu' }),
      tf.layers.reLU({ maxValue: 1.25, name: 'relu_max' }),
      tf.layers.leakyReLU({ name: 'leaky' }),
      tf.layers.leakyReLU({ alpha: 0.15, name: 'leaky_alpha' }),
      tf.layers.prelu({ name: 'prelu' }),
      tf.layers.prelu({ sharedAxes: [1, 2], name: 'prelu_shared' }),
      tf.layers.elu({ name: 'elu' }),
      tf.layers.thresholdedReLU({ name: 'thresholded' }),
      tf.layers.thresholdedReLU({ theta: 0.5, name: 'thresholded_half' }),
      tf.layers.softmax({ axis: -1, name: 'softmax' }),
      tf.layers.softmax({ axis: [3], name: 'softmax_list' }),
      tf.layers.softmax({ axis: [1, 3], name: 'softmax_axes' }),
    ];
    return { model: tf.model({ inputs: input, outputs: layers.map((layer) => layer.apply(input)) }), shapes: [[2, 3, 4, 5]] };
  },

  // Without an axis, Softmax of TensorFlow.js works along axis 1.
  softmax_default_axis: (tf) => ({
    model: tf.sequential({ layers: [dense(tf, 4, { inputShape: [3] }), tf.layers.softmax({})] }),
    shapes: [[4, 3]],
  }),

  normalization: (tf) => {
    const flat = tf.input({ shape: [5], name: 'flat' });
    const image = tf.input({ shape: [4, 3, 5], name: 'image' });
    const rows = tf.input({ shape: [4, 5], name: 'rows' });
    const batch = (name, options, input) => tf.layers.batchNormalization({ name, ...options }).apply(input);
    const layer = (name, options, input) => tf.layers.layerNormalization({ name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: [flat, image, rows],
        outputs: [
          batch('bn_flat', {}, flat),
          batch('bn_image', { epsilon: 0.1 }, image),
          batch('bn_axis1', { axis: 1 }, image),
          batch('bn_rows_axis1', { axis: 1, scale: false }, rows),
          batch('bn_no_center', { center: false }, rows),
          batch('bn_plain', { center: false, scale: false }, image),
          layer('ln_flat', {}, flat),
          layer('ln_image', { epsilon: 0.05 }, image),
          layer('ln_axes', { axis: [1, 2] }, rows),
          layer('ln_axis1', { axis: 1, center: false }, rows),
          layer('ln_no_scale', { axis: [2, 3], scale: false }, image),
        ],
      }),
      shapes: [[2, 5], [2, 4, 3, 5], [2, 4, 5]],
    };
  },

  noise: (tf) => ({
    model: tf.sequential({
      layers: [
        tf.layers.gaussianNoise({ stddev: 0.5, inputShape: [6, 3] }),
        tf.layers.gaussianDropout({ rate: 0.3 }),
        tf.layers.alphaDropout({ rate: 0.3 }),
        tf.layers.spatialDropout1d({ rate: 0.3 }),
        tf.layers.dropout({ rate: 0.3, noiseShape: [null, 1, 3] }),
        tf.layers.flatten(),
        dense(tf, 2),
      ],
    }),
    shapes: [[3, 6, 3]],
  }),

  reshaping: (tf) => {
    const input = tf.input({ shape: [4, 6], name: 'x' });
    const flat = tf.layers.flatten({ name: 'flatten' }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          flat,
          tf.layers.repeatVector({ n: 3, name: 'repeat' }).apply(flat),
          tf.layers.reshape({ targetShape: [2, 3, 4], name: 'reshape' }).apply(input),
          tf.layers.reshape({ targetShape: [-1, 8], name: 'reshape_unknown' }).apply(input),
          tf.layers.permute({ dims: [2, 1], name: 'permute' }).apply(input),
          tf.layers.rescaling({ scale: 0.25, offset: -1.5, name: 'rescaling' }).apply(input),
          tf.layers.masking({ maskValue: 0, name: 'masking' }).apply(input),
        ],
      }),
      shapes: [[2, 4, 6]],
      hidden: [[1, 0, 1, 1, 0, 1, 1, 1]],
    };
  },

  merging: (tf) => {
    const a = tf.input({ shape: [3, 4], name: 'a' });
    const b = tf.input({ shape: [3, 4], name: 'b' });
    const c = tf.input({ shape: [3, 4], name: 'c' });
    const vector = tf.input({ shape: [4], name: 'vector' });
    const merge = (kind, name, inputs, options = {}) => tf.layers[kind]({ name, ...options }).apply(inputs);
    return {
      model: tf.model({
        inputs: [a, b, c, vector],
        outputs: [
          merge('add', 'add', [a, b, c]),
          merge('add', 'add_ranks', [a, vector]),
          merge('multiply', 'multiply', [a, b, c]),
          merge('multiply', 'multiply_ranks', [vector, a]),
          merge('average', 'average', [a, b, c]),
          merge('maximum', 'maximum', [a, b, c]),
          merge('minimum', 'minimum', [a, b, c]),
          merge('concatenate', 'concat', [a, b]),
          merge('concatenate', 'concat_axis1', [a, b, c], { axis: 1 }),
        ],
      }),
      shapes: [[2, 3, 4], [2, 3, 4], [2, 3, 4], [2, 4]],
    };
  },

  dot_products: (tf) => {
    const a = tf.input({ shape: [3, 4], name: 'a' });
    const b = tf.input({ shape: [5, 4], name: 'b' });
    const c = tf.input({ shape: [4, 3], name: 'c' });
    const u = tf.input({ shape: [4], name: 'u' });
    const v = tf.input({ shape: [4], name: 'v' });
    const dot = (name, axes, inputs, normalize = false) => tf.layers.dot({ axes, normalize, name }).apply(inputs);
    return {
      model: tf.model({
        inputs: [a, b, c, u, v],
        outputs: [
          dot('vectors', 1, [u, v]),
          dot('vectors_normalized', -1, [u, v], true),
          dot('matrices', [2, 2], [a, b]),
          dot('matrices_last', -1, [a, b], true),
          dot('matrices_mixed', [2, 1], [a, c]),
          dot('matrices_first', [1, 2], [a, c], true),
          dot('matrix_vector', [2, 1], [a, u]),
          dot('vector_matrix', [1, 2], [u, a]),
        ],
      }),
      shapes: [[2, 3, 4], [2, 5, 4], [2, 4, 3], [2, 4], [2, 4]],
    };
  },

  several_inputs_outputs: (tf) => {
    const numbers = tf.input({ shape: [4], name: 'numbers' });
    const token = tf.input({ shape: [3], dtype: 'int32', name: 'tokens' });
    const embedded = tf.layers.embedding({ inputDim: 7, outputDim: 2, name: 'embedding' }).apply(token);
    const joined = tf.layers.concatenate({ name: 'joined' }).apply([numbers, tf.layers.flatten().apply(embedded)]);
    const first = dense(tf, 3, { name: 'first', activation: 'relu' }).apply(joined);
    const second = dense(tf, 2, { name: 'second' }).apply(first);
    return { model: tf.model({ inputs: [numbers, token], outputs: [second, first] }), shapes: [[3, 4], [3, 3]], ranges: [null, [0, 7]] };
  },

  shared_layers: (tf) => {
    const left = tf.input({ shape: [4], name: 'left' });
    const right = tf.input({ shape: [4], name: 'right' });
    const shared = dense(tf, 4, { activation: 'tanh', name: 'shared' });
    const once = shared.apply(left);
    const twice = shared.apply(once);
    const other = shared.apply(right);
    const merged = tf.layers.concatenate({ name: 'merged' }).apply([twice, other, once]);
    return { model: tf.model({ inputs: [left, right], outputs: [dense(tf, 2, { name: 'head' }).apply(merged), twice] }), shapes: [[3, 4], [3, 4]] };
  },

  nested_models: (tf) => {
    const innerInput = tf.input({ shape: [4], name: 'inner_in' });
    const innerDense = dense(tf, 3, { name: 'inner_dense', activation: 'relu' }).apply(innerInput);
    const inner = tf.model({ inputs: innerInput, outputs: [dense(tf, 2, { name: 'inner_head' }).apply(innerDense), innerDense], name: 'inner' });
    const block = tf.sequential({
      name: 'block',
      layers: [dense(tf, 4, { inputShape: [4], name: 'block_dense' }), tf.layers.batchNormalization({ name: 'block_norm' })],
    });
    const outer = tf.input({ shape: [4], name: 'outer_in' });
    const [one, hidden] = inner.apply(outer);
    const [two] = inner.apply(block.apply(outer));
    const again = block.apply(block.apply(outer));
    const merged = tf.layers.concatenate({ name: 'merged' }).apply([one, two, hidden, again]);
    return { model: tf.model({ inputs: outer, outputs: [dense(tf, 2, { name: 'out' }).apply(merged), two] }), shapes: [[3, 4]] };
  },

  nested_sequential_first: (tf) => {
    const features = tf.sequential({
      name: 'features',
      layers: [
        tf.layers.conv2d({ filters: 3, kernelSize: 3, inputShape: [6, 6, 2], name: 'feature_conv', activation: 'relu' }),
        tf.layers.globalAveragePooling2d({ name: 'feature_pool' }),
      ],
    });
    const input = tf.input({ shape: [3], name: 'head_in' });
    const head = tf.model({ inputs: input, outputs: dense(tf, 2, { name: 'head_dense' }).apply(input), name: 'head' });
    return { model: tf.sequential({ layers: [features, head, dense(tf, 2, { name: 'last' })] }), shapes: [[2, 6, 6, 2]] };
  },

  category_encoding: (tf) => {
    const input = tf.input({ shape: [3], name: 'x', dtype: 'int32' });
    const one = tf.input({ shape: [1], name: 'one', dtype: 'int32' });
    // CategoryEncoding overwrites the shape of its input, which must therefore not be the input of the model.
    const encode = (name, size, options, tensor) =>
      tf.layers.categoryEncoding({ name, ...options }).apply(tf.layers.reshape({ targetShape: [size] }).apply(tensor));
    return {
      model: tf.model({
        inputs: [input, one],
        outputs: [
          encode('multi_hot', 3, { numTokens: 5, outputMode: 'multiHot' }, input),
          encode('count', 3, { numTokens: 5, outputMode: 'count' }, input),
          encode('one_hot', 1, { numTokens: 4, outputMode: 'oneHot' }, one),
        ],
      }),
      shapes: [[4, 3], [4, 1]],
      ranges: [[0, 5], [0, 4]],
    };
  },
};
