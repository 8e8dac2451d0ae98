// Writes small layers models of every kind and what TensorFlow.js computes with them to tests/data/tfjs/layers:
// one folder per case with model.json, its weight files and reference.json (inputs and outputs, named, with shapes).
//
// The outputs are those of the written files, loaded again, not of the models in memory, unless the case says that
// TensorFlow.js cannot load what it saved.

import * as tf from '@tensorflow/tfjs';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cases } from './layers_cases.mjs';
import { formOf } from './layers_forms.mjs';
import { Random, seedOf } from './layers_random.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(process.env.TFJS_DATA ?? join(HERE, '../../tests/data/tfjs'), 'layers');

function randomise(model, random) {
  for (const weight of model.weights) {
    const size = weight.shape.reduce((product, dimension) => product * dimension, 1);
    const [low, high] = /variance$/.test(weight.originalName) ? [0.4, 1.6] : /gamma$/.test(weight.originalName) ? [0.6, 1.4] : [-0.7, 0.7];
    weight.write(tf.tensor(random.floats(size, low, high), weight.shape));
  }
}

function inputsFor(model, shapes, ranges, random) {
  return model.inputs.map((input, index) => {
    const shape = shapes[index];
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    const range = ranges?.[index];
    const values = range ? random.integers(size, range[0], range[1]) : random.floats(size, -2, 2);
    return tf.tensor(values, shape, input.dtype);
  });
}

// Some values of a masked input become what is masked.
function hideSteps(tensors, hidden) {
  if (!hidden) {
    return tensors;
  }
  return tensors.map((tensor, index) => {
    if (!hidden[index]) {
      return tensor;
    }
    const mask = tf.tensor(hidden[index], tensor.shape.slice(0, 2), tensor.dtype);
    return tensor.mul(tensor.rank > 2 ? mask.expandDims(-1) : mask).cast(tensor.dtype);
  });
}

function described(name, tensor) {
  const values = Array.from(tensor.dataSync(), (value) => Number(Number(value).toPrecision(8)));
  return { name, dtype: tensor.dtype, shape: tensor.shape, values };
}

function predict(model, tensors) {
  const result = model.predict(tensors.length === 1 ? tensors[0] : tensors);
  return Array.isArray(result) ? result : [result];
}

function loadFrom(folder) {
  return tf.loadLayersModel({
    load: async () => {
      const document = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'));
      const weightSpecs = document.weightsManifest.flatMap((group) => group.weights);
      const parts = document.weightsManifest.flatMap((group) => group.paths).map((path) => readFileSync(join(folder, path)));
      const bytes = Buffer.concat(parts);
      const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
      return { modelTopology: document.modelTopology, weightSpecs, weightData };
    },
  });
}

async function artifactsOf(model) {
  let saved;
  await model.save(tf.io.withSaveHandler(async (artifacts) => {
    saved = artifacts;
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
  }));
  return { topology: JSON.parse(JSON.stringify(saved.modelTopology)), specs: saved.weightSpecs, data: Buffer.from(saved.weightData) };
}

function worstDifference(left, right) {
  return Math.max(...left.map((tensor, index) => tensor.sub(right[index]).abs().max().dataSync()[0]));
}

async function write(name, build) {
  const random = new Random(seedOf(name));
  const { model, shapes, ranges, hidden, form, reloads = true, tolerance = 1e-5 } = build(tf);
  randomise(model, random);
  const folder = join(ROOT, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { document, files } = formOf(form, await artifactsOf(model));
  for (const [path, bytes] of Object.entries(files)) {
    writeFileSync(join(folder, path), bytes);
  }
  writeFileSync(join(folder, 'model.json'), `${JSON.stringify(document)}\n`);
  const tensors = hideSteps(inputsFor(model, shapes, ranges, random), hidden);
  const before = predict(model, tensors);
  const served = reloads ? await loadFrom(folder) : model;
  const after = predict(served, tensors);
  const difference = worstDifference(before, after);
  if (!(difference <= tolerance)) {
    throw new Error(`${name}: the loaded model differs from the saved one by ${difference}`);
  }
  const reference = {
    inputs: tensors.map((tensor, index) => described(model.inputNames[index], tensor)),
    outputs: after.map((tensor, index) => described(model.outputNames[index], tensor)),
  };
  writeFileSync(join(folder, 'reference.json'), `${JSON.stringify(reference)}\n`);
}

// The CPU backend repeats the statistics of a batch normalisation along the last axis, whatever their shape; the WebGL
// backend, which browsers use, broadcasts them. So they are broadcast before that kernel sees them.
function broadcastBatchNormStatistics() {
  const kernel = tf.getKernel('FusedBatchNorm', 'cpu');
  tf.unregisterKernel('FusedBatchNorm', 'cpu');
  tf.registerKernel({
    ...kernel,
    kernelFunc: ({ inputs, backend, ...rest }) => {
      const copyOf = (info) => tf.tensor(Float32Array.from(backend.readSync(info.dataId)), info.shape);
      const whole = Object.fromEntries(
        Object.entries(inputs).map(([name, info]) => [name, info && name !== 'x' ? tf.broadcastTo(copyOf(info), inputs.x.shape) : info]),
      );
      return kernel.kernelFunc({ inputs: whole, backend, ...rest });
    },
  });
}

const wanted = process.argv.slice(2);
await tf.setBackend('cpu');
broadcastBatchNormStatistics();
if (!existsSync(ROOT)) {
  mkdirSync(ROOT, { recursive: true });
}
for (const [name, build] of Object.entries(cases)) {
  if (wanted.length === 0 || wanted.includes(name)) {
    try {
      await write(name, build);
      console.log(name);
    } catch (error) {
      console.error(`${name}: ${error.stack}`);
      process.exitCode = 1;
    }
  }
}
