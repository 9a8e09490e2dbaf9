/** Reads a capture file, whichever of the two formats it has. */
import { isPcapng, readPcapng, type CaptureRead } from './pcapng.js';

export async function readCapture(bytes: Uint8Array): Promise<CaptureRead> {
  if (isPcapng(bytes)) return readPcapng(bytes);
  // Few commands need its library.
  const { readPcap } = await import('./pcap.js');
  return readPcap(bytes);
}
