// TensorFlow.js by itself: builds the benchmark's model, or calls it in a loop.
//   node tfjs_loop.mjs build FOLDER WIDTH        writes model.json and weights.bin; WIDTH scales the layers (1)
//   node tfjs_loop.mjs loop FOLDER ROWS_FILE S   calls it for S seconds with the rows in ROWS_FILE (JSON) and prints
//                                               {"rows_s": …, "backend": …, "version": …, "answers": […]}
// Needs @tensorflow/tfjs and @tensorflow/tfjs-backend-wasm where Node finds them (NODE_PATH is honoured).
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const [command, folder, argument, seconds] = process.argv.slice(2);

function build() {
  const model = tf.sequential();
  for (const [index, width] of [64, 64, 128, 128, 256, 256].entries()) {
    const filters = Math.round(width * Number(argument));
    const shape = index === 0 ? { inputShape: [32, 32, 3] } : {};
    model.add(tf.layers.conv2d({ ...shape, filters, kernelSize: 3, padding: 'same', activation: 'relu' }));
    if (index % 2 === 1) model.add(tf.layers.maxPooling2d({ poolSize: 2 }));
  }
  model.add(tf.layers.globalAveragePooling2d({}));
  model.add(tf.layers.dense({ units: 10 }));
  return model;
}

async function save(model) {
  mkdirSync(folder, { recursive: true });
  await model.save(tf.io.withSaveHandler(async ({ modelTopology, weightSpecs, weightData }) => {
    writeFileSync(join(folder, 'weights.bin'), Buffer.from(tf.io.CompositeArrayBuffer.join(weightData)));
    const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }];
    writeFileSync(join(folder, 'model.json'), JSON.stringify({ format: 'layers-model', modelTopology, weightsManifest }));
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
  }));
}

async function load() {
  const document = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'));
  const bytes = readFileSync(join(folder, 'weights.bin'));
  return tf.loadLayersModel(tf.io.fromMemory({
    modelTopology: document.modelTopology,
    weightSpecs: document.weightsManifest[0].weights,
    weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  }));
}

async function loop(model) {
  const rows = JSON.parse(readFileSync(argument, 'utf8'));
  const input = tf.tensor(rows, undefined, 'float32');
  const call = async () => {
    const output = model.predict(input);
    await output.data();
    output.dispose();
  };
  const answers = await model.predict(input).array();
  for (let turn = 0; turn < 3; turn += 1) await call();
  const started = performance.now();
  let calls = 0;
  while (performance.now() - started < Number(seconds) * 1000) {
    await call();
    calls += 1;
  }
  const rows_s = (calls * rows.length * 1000) / (performance.now() - started);
  console.log(JSON.stringify({ rows_s, backend: tf.getBackend(), version: tf.version.tfjs, answers }));
}

wasm.setWasmPaths(join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '/'));
await tf.setBackend('wasm');
await (command === 'build' ? save(build()) : loop(await load()));
process.exit(0);
