// The same layers in the forms that the Python converter writes.

function small(tf) {
  return {
    model: tf.sequential({
      layers: [
        tf.layers.dense({ units: 12, inputShape: [8], activation: 'relu', name: 'dense' }),
        tf.layers.batchNormalization({ name: 'norm' }),
        tf.layers.dense({ units: 4, activation: 'softmax', name: 'out' }),
      ],
    }),
    shapes: [[3, 8]],
    tolerance: 0.05,
  };
}

// Weights of a recurrent layer in Keras 2 carry the name of the cell.
function withCell(name) {
  return name
    .replace(/^(lstm|gru)\//, '$1/$1_cell/')
    .replace(/^both\/(forward_gru|backward_gru)\//, 'both/$1/gru_cell_3/');
}

// What Keras 2 writes into the configuration and TensorFlow.js does not.
function asKeras2(config) {
  for (const layer of config.config.layers) {
    if (['LSTM', 'GRU'].includes(layer.class_name)) {
      Object.assign(layer.config, { time_major: false, implementation: 2, unit_forget_bias: layer.class_name === 'LSTM' || undefined });
    }
    if (layer.class_name === 'BatchNormalization') {
      layer.config.axis = [1];
    }
    layer.config.dtype = 'float32';
    for (const node of layer.inbound_nodes ?? []) {
      node.forEach((tensor) => { tensor[3] = { training: false }; });
    }
  }
}

export const cases = {
  converter_shards: (tf) => ({ ...small(tf), form: { patch: asKeras2 } }),
  converter_uint8: (tf) => ({ ...small(tf), form: { quantisation: 'uint8' } }),
  converter_uint16: (tf) => ({ ...small(tf), form: { quantisation: 'uint16' } }),
  converter_float16: (tf) => ({ ...small(tf), form: { quantisation: 'float16' } }),

  converter_recurrent: (tf) => {
    const input = tf.input({ shape: [4, 3], name: 'x' });
    const lstm = tf.layers.lstm({ units: 3, returnSequences: true, recurrentActivation: 'sigmoid', name: 'lstm' }).apply(input);
    const gru = tf.layers.gru({ units: 2, name: 'gru', returnSequences: true }).apply(lstm);
    const both = tf.layers.bidirectional({ layer: tf.layers.gru({ units: 2, name: 'gru' }), mergeMode: 'concat', name: 'both' }).apply(gru);
    const norm = tf.layers.batchNormalization({ name: 'norm' }).apply(both);
    return { model: tf.model({ inputs: input, outputs: norm }), shapes: [[2, 4, 3]], form: { rename: withCell, patch: asKeras2 } };
  },

  // The configuration of a Sequential as a bare list.
  converter_bare_list: (tf) => ({ ...small(tf), form: { patch: (config) => { config.config = config.config.layers; } } }),

  // TensorFlow.js does not write the depth multiplier of a separable convolution; the converter does.
  converter_separable: (tf) => ({
    model: tf.sequential({ layers: [tf.layers.separableConv2d({ filters: 3, kernelSize: 2, depthMultiplier: 2, inputShape: [5, 4, 2], name: 'separable' })] }),
    shapes: [[2, 5, 4, 2]],
    form: { patch: (config) => { config.config.layers[0].config.depth_multiplier = 2; } },
  }),

  // The names that the converter gives the weights of a Keras 3 archive.
  converter_numbered: (tf) => {
    const numbers = { kernel: 0, bias: 1, gamma: 0, beta: 1, moving_mean: 2, moving_variance: 3 };
    const rename = (name) => name.replace(/\/(\w+)$/, (_, weight) => `/vars/${numbers[weight]}`);
    return { ...small(tf), form: { rename } };
  },
};
