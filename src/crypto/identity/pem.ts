/** PEM (RFC 7468) in and out. Text around the blocks, such as `openssl x509 -text` writes, is skipped. */

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----/g;

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

/** Every block of the text, in order. Blocks with headers (encrypted in the old way) are skipped. */
export function readPem(text: string): PemBlock[] {
  return [...text.matchAll(BLOCK)].map(([, label, body]) => ({
    label,
    der: Uint8Array.from(Buffer.from(body, 'base64')),
  }));
}

export function writePem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The DER structures with that label in PEM text, or the input itself where it is DER (starts with a SEQUENCE). */
export function readPemOrDer(input: Uint8Array | string, label: string): Uint8Array[] {
  if (typeof input !== 'string' && input[0] === 0x30) return [Uint8Array.from(input)];
  const text = typeof input === 'string' ? input : Buffer.from(input).toString('latin1');
  return readPem(text)
    .filter((block) => block.label === label)
    .map((block) => block.der);
}
