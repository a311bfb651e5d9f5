// Compiles WGSL files with Tint, as Chrome would: node tint.mjs FOLDER. Prints what fails, and a count.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);

// Dawn's device that computes nothing: compiling needs no adapter.
const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
const wanted = ['shader-f16', 'subgroups'].filter((feature) => adapter.features.has(feature));
const device = await adapter.requestDevice({ requiredFeatures: wanted });

// What is wrong with a text; an empty one for nothing.
async function compile(code) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const error = await device.popErrorScope();
    const told = messages.filter(({ type }) => type === 'error').map((m) => `line ${m.lineNum}: ${m.message}`);
    return told.join('; ') || error?.message || '';
}

if (!(await compile('const X: f32 = 3.4028235e38;'))) {
    console.error('tint: a text with a mistake was not refused');
    process.exit(2);
}
const folder = process.argv[2];
const names = readdirSync(folder).filter((name) => name.endsWith('.wgsl')).sort();
let failed = 0;
for (const name of names) {
    const wrong = await compile(readFileSync(join(folder, name), 'utf8'));
    if (wrong) {
        failed += 1;
        console.log(`tint: ${name}: ${wrong.slice(0, 600)}`);
    }
}
console.log(`Tint: ${names.length} kernels as WGSL (${wanted.join(', ')}), ${failed} refused`);
// Not to be collected before its devices.
device.destroy();
void gpu;
process.exit(failed > 0 || names.length === 0 ? 1 : 0);
