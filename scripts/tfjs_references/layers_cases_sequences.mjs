// Recurrent layers, their wrappers, embeddings and masks.

const KINDS = { simple: 'simpleRNN', lstm: 'lstm', gru: 'gru' };

function rnn(tf, kind, name, options = {}) {
  return tf.layers[KINDS[kind]]({ units: 3, name, ...options });
}

export const cases = {
  recurrent: (tf) => {
    const input = tf.input({ shape: [5, 4], name: 'x' });
    const outputs = Object.keys(KINDS).flatMap((kind) => [
      rnn(tf, kind, kind).apply(input),
      rnn(tf, kind, `${kind}_sequence`, { returnSequences: true, activation: 'relu', useBias: false }).apply(input),
      rnn(tf, kind, `${kind}_backwards`, { returnSequences: true, goBackwards: true, dropout: 0.2, recurrentDropout: 0.1 }).apply(input),
    ]);
    const gates = ['lstm', 'gru'].flatMap((kind) => [
      rnn(tf, kind, `${kind}_sigmoid`, { recurrentActivation: 'sigmoid', implementation: 1 }).apply(input),
      rnn(tf, kind, `${kind}_elu`, { recurrentActivation: 'hardSigmoid', activation: 'elu', implementation: 2 }).apply(input),
    ]);
    const forget = rnn(tf, 'lstm', 'lstm_forget', { unitForgetBias: true, units: 1 }).apply(input);
    return { model: tf.model({ inputs: input, outputs: [...outputs, ...gates, forget] }), shapes: [[2, 5, 4]] };
  },

  recurrent_states: (tf) => {
    const input = tf.input({ shape: [5, 4], name: 'x' });
    const start = tf.input({ shape: [3], name: 'start' });
    const [sequence, hidden, carry] = rnn(tf, 'lstm', 'encoder', { returnSequences: true, returnState: true }).apply(input);
    const [last, state] = rnn(tf, 'gru', 'gru', { returnState: true }).apply([input, start]);
    const decoded = rnn(tf, 'lstm', 'decoder', { returnSequences: true }).apply([sequence, hidden, carry]);
    const plain = rnn(tf, 'simple', 'plain').apply([decoded, state]);
    const head = (name, tensor) => tf.layers.activation({ activation: 'linear', name }).apply(tensor);
    return {
      model: tf.model({ inputs: [input, start], outputs: [decoded, plain, last, head('carry', carry), head('state', state)] }),
      shapes: [[2, 5, 4], [2, 3]],
    };
  },

  // Two outputs of one layer: their names are equal, so they are told apart by number.
  two_outputs_of_one_layer: (tf) => {
    const input = tf.input({ shape: [4, 2], name: 'x' });
    return { model: tf.model({ inputs: input, outputs: rnn(tf, 'lstm', 'lstm', { returnState: true }).apply(input) }), shapes: [[2, 4, 2]] };
  },

  stacked_cells: (tf) => {
    const input = tf.input({ shape: [5, 4], name: 'x' });
    const cells = () => [tf.layers.lstmCell({ units: 3 }), tf.layers.gruCell({ units: 2 }), tf.layers.simpleRNNCell({ units: 4 })];
    const [last, ...states] = tf.layers.rnn({ cell: cells(), returnState: true, name: 'stacked' }).apply(input);
    const head = (name, tensor) => tf.layers.activation({ activation: 'linear', name }).apply(tensor);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          last,
          ...states.map((state, index) => head(`state_${index}`, state)),
          tf.layers.rnn({ cell: cells(), returnSequences: true, goBackwards: true, name: 'stacked_sequence' }).apply(input),
          tf.layers.rnn({ cell: tf.layers.gruCell({ units: 3 }), returnSequences: true, name: 'one_cell' }).apply(input),
        ],
      }),
      shapes: [[2, 5, 4]],
    };
  },

  bidirectional: (tf) => {
    const input = tf.input({ shape: [4, 3], name: 'x' });
    const both = (name, kind, mergeMode, options = {}) =>
      tf.layers.bidirectional({ layer: rnn(tf, kind, `${name}_inner`, options), mergeMode, name }).apply(input);
    const [forward, backward] = both('separate', 'lstm', null, { returnSequences: true });
    const [withStates, ...states] = both('states', 'lstm', 'concat', { returnState: true });
    const head = (name, tensor) => tf.layers.activation({ activation: 'linear', name }).apply(tensor);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          both('concat', 'lstm', 'concat'),
          both('concat_sequence', 'gru', 'concat', { returnSequences: true }),
          both('sum', 'gru', 'sum', { returnSequences: true }),
          both('ave', 'simple', 'ave', { returnSequences: true }),
          both('mul', 'lstm', 'mul'),
          both('backwards_first', 'gru', 'concat', { returnSequences: true, goBackwards: true }),
          head('forward', forward),
          head('backward', backward),
          withStates,
          ...states.map((state, index) => head(`state_${index}`, state)),
        ],
      }),
      shapes: [[2, 4, 3]],
    };
  },

  bidirectional_initial_state: (tf) => {
    const input = tf.input({ shape: [4, 3], name: 'x' });
    const states = ['h', 'c', 'back_h', 'back_c'].map((name) => tf.input({ shape: [3], name }));
    const output = tf.layers.bidirectional({ layer: rnn(tf, 'lstm', 'inner'), mergeMode: 'concat', name: 'both' }).apply([input, ...states]);
    return { model: tf.model({ inputs: [input, ...states], outputs: output }), shapes: [[2, 4, 3], [2, 3], [2, 3], [2, 3], [2, 3]] };
  },

  conv_lstm: (tf) => {
    const input = tf.input({ shape: [3, 5, 4, 2], name: 'x' });
    const conv = (name, options = {}) => tf.layers.convLstm2d({ filters: 2, kernelSize: 3, name, ...options }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          conv('conv_lstm'),
          conv('conv_lstm_sequence', { returnSequences: true, padding: 'same', recurrentActivation: 'sigmoid', activation: 'relu' }),
          tf.layers.convLstm2d({ filters: 2, kernelSize: 2, dataFormat: 'channelsFirst', name: 'conv_lstm_first' }).apply(
            tf.layers.reshape({ targetShape: [3, 2, 5, 4] }).apply(input),
          ),
          tf.layers.convLstm2d({ filters: 2, kernelSize: 2, dataFormat: 'channelsFirst', returnSequences: true, name: 'conv_lstm_first_sequence' }).apply(
            tf.layers.reshape({ targetShape: [3, 2, 5, 4] }).apply(input),
          ),
          conv('conv_lstm_strides', { strides: 2, padding: 'same', useBias: false }),
          conv('conv_lstm_backwards', { goBackwards: true, kernelSize: [2, 1], dilationRate: [2, 1], returnSequences: true }),
        ],
      }),
      shapes: [[2, 3, 5, 4, 2]],
    };
  },

  time_distributed: (tf) => {
    const input = tf.input({ shape: [4, 6], name: 'x' });
    const frames = tf.input({ shape: [3, 5, 5, 2], name: 'frames' });
    const each = (name, layer, tensor) => tf.layers.timeDistributed({ layer, name }).apply(tensor);
    const small = tf.sequential({
      name: 'small',
      layers: [
        tf.layers.conv2d({ filters: 2, kernelSize: 2, inputShape: [5, 5, 2], name: 'small_conv', activation: 'relu' }),
        tf.layers.flatten({ name: 'small_flatten' }),
        tf.layers.dense({ units: 2, name: 'small_dense' }),
      ],
    });
    return {
      model: tf.model({
        inputs: [input, frames],
        outputs: [
          each('dense', tf.layers.dense({ units: 3, activation: 'softmax' }), input),
          each('conv', tf.layers.conv2d({ filters: 2, kernelSize: 2 }), frames),
          each('pooled', tf.layers.globalAveragePooling2d({}), frames),
          each('model', small, frames),
          each('recurrent', tf.layers.lstm({ units: 2 }), tf.layers.reshape({ targetShape: [4, 3, 2] }).apply(input)),
          each('both', tf.layers.bidirectional({ layer: tf.layers.gru({ units: 2 }), mergeMode: 'sum' }), tf.layers.reshape({ targetShape: [4, 3, 2] }).apply(input)),
        ],
      }),
      shapes: [[2, 4, 6], [2, 3, 5, 5, 2]],
    };
  },

  variable_length: (tf) => {
    const input = tf.input({ shape: [null, 3], name: 'x' });
    const hidden = rnn(tf, 'lstm', 'lstm', { returnSequences: true }).apply(input);
    return {
      model: tf.model({
        inputs: input,
        outputs: [
          tf.layers.timeDistributed({ layer: tf.layers.dense({ units: 2 }), name: 'each' }).apply(hidden),
          tf.layers.conv1d({ filters: 2, kernelSize: 2, name: 'conv' }).apply(hidden),
          tf.layers.globalMaxPooling1d({ name: 'pooled' }).apply(hidden),
        ],
      }),
      shapes: [[2, 6, 3]],
    };
  },

  embedding_sequential: (tf) => ({
    model: tf.sequential({
      layers: [
        tf.layers.embedding({ inputDim: 9, outputDim: 4, inputLength: 6 }),
        rnn(tf, 'gru', 'gru'),
        tf.layers.dense({ units: 1, activation: 'sigmoid' }),
      ],
    }),
    shapes: [[3, 6]],
    ranges: [[0, 9]],
  }),

  masks: (tf) => {
    const tokens = tf.input({ shape: [5], name: 'tokens' });
    const steps = tf.input({ shape: [5, 3], name: 'steps' });
    const embedded = tf.layers.embedding({ inputDim: 8, outputDim: 3, maskZero: true, name: 'embedding' }).apply(tokens);
    const sequence = rnn(tf, 'lstm', 'masked_sequence', { returnSequences: true }).apply(embedded);
    const masked = tf.layers.masking({ maskValue: 0, name: 'masking' }).apply(steps);
    const dense = tf.layers.dense({ units: 3, activation: 'relu', name: 'dense' }).apply(masked);
    return {
      model: tf.model({
        inputs: [tokens, steps],
        outputs: [
          sequence,
          rnn(tf, 'gru', 'after_sequence').apply(sequence),
          tf.layers.bidirectional({ layer: rnn(tf, 'lstm', 'inner', { returnSequences: true }), mergeMode: 'concat', name: 'both' }).apply(embedded),
          rnn(tf, 'simple', 'backwards', { goBackwards: true, returnSequences: true }).apply(embedded),
          rnn(tf, 'gru', 'after_dense').apply(dense),
          rnn(tf, 'lstm', 'joined').apply(tf.layers.concatenate({ name: 'joined_in' }).apply([embedded, dense])),
        ],
      }),
      shapes: [[3, 5], [3, 5, 3]],
      ranges: [[1, 8], null],
      hidden: [[1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1]],
    };
  },

  // An average over time does not know of masks in TensorFlow.js.
  mask_average: (tf) => ({
    model: tf.sequential({
      layers: [
        tf.layers.embedding({ inputDim: 8, outputDim: 3, maskZero: true, inputLength: 5, name: 'embedding' }),
        tf.layers.globalAveragePooling1d({ name: 'average' }),
        tf.layers.dense({ units: 2, name: 'dense' }),
      ],
    }),
    shapes: [[3, 5]],
    ranges: [[1, 8]],
    hidden: [[1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0]],
  }),
};

// What TensorFlow.js hands on: a mask once seen stays with every layer that is executed later.
export const maskCases = {
  mask_stays: (tf) => {
    const tokens = tf.input({ shape: [5], name: 'tokens' });
    const embedded = tf.layers.embedding({ inputDim: 8, outputDim: 3, maskZero: true, name: 'embedding' }).apply(tokens);
    const sequence = rnn(tf, 'lstm', 'first', { returnSequences: true }).apply(embedded);
    const last = rnn(tf, 'gru', 'second', { returnSequences: false }).apply(sequence);
    const repeated = tf.layers.repeatVector({ n: 5, name: 'repeat' }).apply(last);
    const third = rnn(tf, 'simple', 'third', { returnSequences: true }).apply(repeated);
    return {
      model: tf.model({ inputs: tokens, outputs: third }),
      shapes: [[3, 5]],
      ranges: [[1, 8]],
      hidden: [[1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0]],
    };
  },

  mask_attention: (tf) => {
    const tokens = tf.input({ shape: [5], name: 'tokens' });
    const embedded = tf.layers.embedding({ inputDim: 8, outputDim: 3, maskZero: true, name: 'embedding' }).apply(tokens);
    const sequence = rnn(tf, 'lstm', 'sequence', { returnSequences: true }).apply(embedded);
    const scores = rnn(tf, 'simple', 'scores', { units: 5 }).apply(sequence);
    return {
      model: tf.model({ inputs: tokens, outputs: tf.layers.softmax({ axis: -1, name: 'weights' }).apply(scores) }),
      shapes: [[3, 5]],
      ranges: [[1, 8]],
      hidden: [[1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1]],
    };
  },

  // Steps masked before any other show the initial state.
  mask_and_initial_state: (tf) => {
    const steps = tf.input({ shape: [4, 2], name: 'steps' });
    const states = [tf.input({ shape: [3], name: 'h' }), tf.input({ shape: [3], name: 'c' })];
    const masked = tf.layers.masking({ name: 'masking' }).apply(steps);
    const output = rnn(tf, 'lstm', 'lstm', { returnSequences: true }).apply([masked, ...states]);
    return {
      model: tf.model({ inputs: [steps, ...states], outputs: output }),
      shapes: [[3, 4, 2], [3, 3], [3, 3]],
      hidden: [[0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0], null, null],
    };
  },

  mask_into_model: (tf) => {
    const inner = tf.input({ shape: [5, 3], name: 'inner_in' });
    const model = tf.model({ inputs: inner, outputs: rnn(tf, 'gru', 'inner_gru', { returnSequences: true }).apply(inner), name: 'inner' });
    const tokens = tf.input({ shape: [5], name: 'tokens' });
    const embedded = tf.layers.embedding({ inputDim: 8, outputDim: 3, maskZero: true, name: 'embedding' }).apply(tokens);
    const sequence = rnn(tf, 'lstm', 'sequence', { returnSequences: true }).apply(embedded);
    return {
      model: tf.model({ inputs: tokens, outputs: model.apply(rnn(tf, 'simple', 'between', { returnSequences: true }).apply(sequence)) }),
      shapes: [[3, 5]],
      ranges: [[1, 8]],
      hidden: [[1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1]],
    };
  },
};

Object.assign(cases, maskCases);
