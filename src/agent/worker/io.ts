import type { Io } from '../../io/ports.js';

/** The addon's ports, or the plain ones where they are asked for. Loaded on demand, so that `--plain` needs no addon. */
export async function loadIo(plain: boolean): Promise<Io> {
  if (plain) return (await import('../../io/plain/index.js')).createPlainIo();
  return (await import('../../io/native.js')).loadNative();
}
