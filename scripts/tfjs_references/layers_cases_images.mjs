// Convolution, pooling, padding and resizing.

export const cases = {
  conv_sequential: (tf) => ({
    model: tf.sequential({
      layers: [
        tf.layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, padding: 'same', activation: 'relu', inputShape: [9, 8, 3] }),
        tf.layers.batchNormalization({ epsilon: 1e-3 }),
        tf.layers.maxPooling2d({ poolSize: 2, strides: 1 }),
        tf.layers.separableConv2d({ filters: 5, kernelSize: 2, activation: 'elu' }),
        tf.layers.depthwiseConv2d({ kernelSize: 2, depthMultiplier: 2, padding: 'same' }),
        tf.layers.leakyReLU({ alpha: 0.2 }),
        tf.layers.prelu(),
        tf.layers.globalAveragePooling2d({}),
        tf.layers.dense({ units: 3, activation: 'softmax' }),
      ],
    }),
    shapes: [[2, 9, 8, 3]],
  }),

  conv2d: (tf) => {
    const input = tf.input({ shape: [7, 6, 3], name: 'x' });
    const conv = (name, options) => tf.layers.conv2d({ filters: 2, kernelSize: 3, name, ...options }).apply(input);
    const depthwise = (name, options) => tf.layers.depthwiseConv2d({ kernelSize: 3, name, ...options }).apply(input);
    const separable = (name, options) => tf.layers.separableConv2d({ filters: 2, kernelSize: 3, name, ...options }).apply(input);
    const transpose = (name, options) => tf.layers.conv2dTranspose({ filters: 2, kernelSize: 3, name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          conv('conv_valid', {}),
          conv('conv_same_strides', { padding: 'same', strides: [2, 3], activation: 'hardSigmoid' }),
          conv('conv_kernel', { kernelSize: [2, 4], useBias: false, activation: 'softmax' }),
          conv('conv_dilation', { dilationRate: 2, activation: 'elu' }),
          conv('conv_dilation_same', { dilationRate: [2, 1], padding: 'same' }),
          depthwise('depthwise', { activation: 'relu6' }),
          depthwise('depthwise_same', { padding: 'same', strides: 2, depthMultiplier: 2 }),
          separable('separable', { padding: 'same', strides: 2, activation: 'swish' }),
          separable('separable_dilation', { dilationRate: 2 }),
          transpose('transpose_valid', { strides: 2, activation: 'relu' }),
          transpose('transpose_same', { strides: [2, 3], padding: 'same' }),
          transpose('transpose_small_kernel', { strides: 3, kernelSize: 2, useBias: false }),
        ],
      }),
      shapes: [[2, 7, 6, 3]],
    };
  },

  // TensorFlow.js forgets the dilation of a depthwise convolution.
  depthwise_dilation: (tf) => ({
    model: tf.sequential({ layers: [tf.layers.depthwiseConv2d({ kernelSize: 2, dilationRate: 2, padding: 'same', inputShape: [5, 5, 2] })] }),
    shapes: [[1, 5, 5, 2]],
  }),

  conv1d: (tf) => {
    const input = tf.input({ shape: [9, 3], name: 'x' });
    const conv = (name, options) => tf.layers.conv1d({ filters: 2, kernelSize: 3, name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          conv('conv', {}),
          conv('conv_same', { padding: 'same', strides: 2, activation: 'relu' }),
          conv('conv_dilation', { dilationRate: 2, activation: 'tanh', useBias: false }),
          tf.layers.maxPooling1d({ name: 'max' }).apply(input),
          tf.layers.maxPooling1d({ poolSize: 3, strides: 2, padding: 'same', name: 'max_same' }).apply(input),
          tf.layers.averagePooling1d({ poolSize: 2, name: 'average' }).apply(input),
          tf.layers.averagePooling1d({ poolSize: 4, strides: 2, padding: 'same', name: 'average_same' }).apply(input),
          tf.layers.globalMaxPooling1d({ name: 'global_max' }).apply(input),
          tf.layers.globalAveragePooling1d({ name: 'global_average' }).apply(input),
        ],
      }),
      shapes: [[2, 9, 3]],
    };
  },

  conv3d: (tf) => {
    const input = tf.input({ shape: [4, 5, 3, 2], name: 'x' });
    const conv = (name, options) => tf.layers.conv3d({ filters: 2, kernelSize: 2, name, ...options }).apply(input);
    const transpose = (name, options) => tf.layers.conv3dTranspose({ filters: 2, kernelSize: 2, name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          conv('conv', { activation: 'relu' }),
          conv('conv_same', { padding: 'same', strides: 2, useBias: false }),
          conv('conv_first', { dataFormat: 'channelsFirst' }),
          transpose('transpose', { strides: 2 }),
          transpose('transpose_same', { strides: 2, padding: 'same', activation: 'tanh' }),
          tf.layers.maxPooling3d({ poolSize: 2, name: 'max' }).apply(input),
          tf.layers.maxPooling3d({ poolSize: 2, strides: 1, padding: 'same', name: 'max_same' }).apply(input),
          tf.layers.averagePooling3d({ poolSize: [2, 2, 3], name: 'average' }).apply(input),
          tf.layers.averagePooling3d({ poolSize: 3, strides: 2, padding: 'same', name: 'average_same' }).apply(input),
        ],
      }),
      shapes: [[1, 4, 5, 3, 2]],
    };
  },

  pooling2d: (tf) => {
    const input = tf.input({ shape: [7, 6, 2], name: 'x' });
    const kinds = [['max', tf.layers.maxPooling2d], ['average', tf.layers.averagePooling2d]];
    const outputs = kinds.flatMap(([name, pool]) => [
      pool({ poolSize: 2, name: `${name}_valid` }).apply(input),
      pool({ poolSize: [3, 2], strides: [2, 1], padding: 'same', name: `${name}_same` }).apply(input),
      pool({ poolSize: 3, strides: 2, name: `${name}_strides` }).apply(input),
    ]);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          ...outputs,
          tf.layers.globalMaxPooling2d({ name: 'global_max' }).apply(input),
          tf.layers.globalAveragePooling2d({ name: 'global_average' }).apply(input),
        ],
      }),
      shapes: [[2, 7, 6, 2]],
    };
  },

  channels_first: (tf) => {
    const dataFormat = 'channelsFirst';
    const input = tf.input({ shape: [3, 6, 5], name: 'x' });
    const apply = (kind, name, options = {}) => tf.layers[kind]({ dataFormat, name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          apply('conv2d', 'conv', { filters: 2, kernelSize: 3, activation: 'softmax' }),
          apply('conv2d', 'conv_strides', { filters: 2, kernelSize: 2, strides: 2, padding: 'same', activation: 'relu' }),
          apply('depthwiseConv2d', 'depthwise', { kernelSize: 2, depthMultiplier: 2, activation: 'softmax' }),
          apply('separableConv2d', 'separable', { filters: 2, kernelSize: 2, useBias: false, activation: 'softmax' }),
          apply('conv2dTranspose', 'transpose', { filters: 2, kernelSize: 3, strides: 2, activation: 'softmax' }),
          apply('maxPooling2d', 'max', { poolSize: 2 }),
          apply('averagePooling2d', 'average', { poolSize: 3, strides: 2, padding: 'same' }),
          apply('globalMaxPooling2d', 'global_max'),
          apply('globalAveragePooling2d', 'global_average'),
          apply('zeroPadding2d', 'padding', { padding: [[1, 0], [2, 1]] }),
          apply('cropping2D', 'cropping', { cropping: [[1, 2], [0, 1]] }),
          apply('upSampling2d', 'upsampling', { size: [2, 3] }),
          apply('upSampling2d', 'upsampling_bilinear', { size: [2, 3], interpolation: 'bilinear' }),
          apply('flatten', 'flatten'),
          tf.layers.batchNormalization({ axis: 1, name: 'norm' }).apply(input),
        ],
      }),
      shapes: [[2, 3, 6, 5]],
    };
  },

  resizing: (tf) => {
    const input = tf.input({ shape: [5, 4, 2], name: 'x' });
    const apply = (kind, name, options) => tf.layers[kind]({ name, ...options }).apply(input);
    // CenterCrop overwrites the shape of its input, which must therefore not be the input of the model.
    const crop = (name, options) => tf.layers.centerCrop({ name, ...options }).apply(tf.layers.reshape({ targetShape: [5, 4, 2] }).apply(input));
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          apply('zeroPadding2d', 'padding_default', {}),
          apply('zeroPadding2d', 'padding_pair', { padding: [1, 2] }),
          apply('zeroPadding2d', 'padding_full', { padding: [[0, 1], [2, 0]] }),
          apply('cropping2D', 'cropping', { cropping: [[1, 1], [0, 2]] }),
          apply('upSampling2d', 'upsampling', { size: [3, 2] }),
          apply('upSampling2d', 'upsampling_bilinear', { size: [3, 2], interpolation: 'bilinear' }),
          crop('crop', { height: 3, width: 2 }),
          crop('crop_odd', { height: 2, width: 3 }),
          crop('crop_height', { height: 4, width: 4 }),
        ],
      }),
      shapes: [[2, 5, 4, 2]],
    };
  },
};
