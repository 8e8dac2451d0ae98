// Every model the references are made of, by the name of its folder.

import { cases as basic } from './layers_cases_basic.mjs';
import { cases as forms } from './layers_cases_forms.mjs';
import { cases as images } from './layers_cases_images.mjs';
import { cases as sequences } from './layers_cases_sequences.mjs';

export const cases = { ...basic, ...images, ...sequences, ...forms };
