// The forms in which layers models lie on disk: as TensorFlow.js saves them, and as the Python converter writes them.

const SHARD_BYTES = 256;

function halfBits(value) {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const fraction = (bits >>> 13) & 0x3ff;
  if (exponent <= 0 || exponent >= 31) {
    return sign; // the weights here are neither tiny nor large
  }
  return sign | (exponent << 10) | fraction;
}

// One weight as the converter stores it under a quantisation: its bytes and what the manifest says about them.
function quantised(values, dtype) {
  if (dtype === 'float16') {
    return { bytes: Buffer.from(Uint16Array.from(values, halfBits).buffer), quantization: { dtype, original_dtype: 'float32' } };
  }
  const [Store, levels] = dtype === 'uint8' ? [Uint8Array, 255] : [Uint16Array, 65535];
  const min = Math.min(...values);
  const scale = (Math.max(...values) - min) / levels || 1;
  const stored = Store.from(values, (value) => Math.round((value - min) / scale));
  return { bytes: Buffer.from(stored.buffer), quantization: { dtype, min, scale, original_dtype: 'float32' } };
}

function weightsOf({ specs, data }) {
  let offset = 0;
  return specs.map((spec) => {
    const size = spec.shape.reduce((product, dimension) => product * dimension, 1) * 4;
    const bytes = data.subarray(offset, offset + size);
    offset += size;
    return { spec, bytes };
  });
}

function savedByTfjs({ topology, specs, data }) {
  return {
    document: {
      modelTopology: topology,
      format: 'layers-model',
      generatedBy: 'TensorFlow.js tfjs-layers v4.22.0',
      convertedBy: null,
      weightsManifest: [{ paths: ['./weights.bin'], weights: specs }],
    },
    files: { 'weights.bin': data },
  };
}

// The Python converter: the topology of a .h5 file of Keras 2, weights in shards, and under the names of Keras 2, where
// a recurrent layer's weights carry the name of its cell.
function writtenByConverter(artifacts, { quantisation, rename = (name) => name, patch = () => {} }) {
  const weights = weightsOf(artifacts).map(({ spec, bytes }) => {
    const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const stored = quantisation ? quantised(values, quantisation) : { bytes };
    const entry = { name: rename(spec.name), shape: spec.shape, dtype: 'float32' };
    return { bytes: stored.bytes, entry: stored.quantization ? { ...entry, quantization: stored.quantization } : entry };
  });
  const data = Buffer.concat(weights.map(({ bytes }) => bytes));
  const count = Math.ceil(data.length / SHARD_BYTES);
  const paths = Array.from({ length: count }, (_, index) => `group1-shard${index + 1}of${count}.bin`);
  const files = Object.fromEntries(paths.map((path, index) => [path, data.subarray(index * SHARD_BYTES, (index + 1) * SHARD_BYTES)]));
  const config = { class_name: artifacts.topology.class_name, config: artifacts.topology.config };
  patch(config);
  return {
    document: {
      format: 'layers-model',
      generatedBy: 'keras v2.15.0',
      convertedBy: 'TensorFlow.js Converter v4.22.0',
      modelTopology: { keras_version: '2.15.0', backend: 'tensorflow', model_config: config },
      weightsManifest: [{ paths, weights: weights.map(({ entry }) => entry) }],
    },
    files,
  };
}

export function formOf(form, artifacts) {
  return form ? writtenByConverter(artifacts, form) : savedByTfjs(artifacts);
}
