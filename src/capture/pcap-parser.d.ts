/** `pcap-parser` has no types of its own; this is what we use of it. */
declare module 'pcap-parser' {
  interface PacketHeader {
    readonly capturedLength: number;
    readonly originalLength: number;
  }
  interface Parser {
    on(event: 'globalHeader', listener: (header: { readonly linkLayerType: number }) => void): this;
    on(event: 'packetHeader', listener: (header: PacketHeader) => void): this;
    on(
      event: 'packet',
      listener: (packet: { readonly header: PacketHeader; readonly data: Buffer }) => void,
    ): this;
    on(event: 'error', listener: (error: Error) => void): this;
    on(event: 'end', listener: () => void): this;
  }
  export function parse(input: NodeJS.ReadableStream): Parser;
}
