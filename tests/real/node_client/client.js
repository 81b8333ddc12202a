// A client of Eru's wire, told what to do by lines of JSON on its standard input, and telling what it sees by lines of
// JSON on its standard output. It has its own copy of the wire facts (wire.json) and its own gRPC and protobuf.
//
//   in:  {"id": 1, "call": "GetPod", "request": {...}, "metadata": {...}, "deadline_ms": 1000, "raw": "base64"}
//        {"id": 2, "open": "ExecuteWorkload"}  {"id": 2, "write": {...}}  {"id": 2, "end": true}
//        {"id": 2, "cancel": true}  {"id": 2, "pause": true}  {"id": 2, "resume": true}
//   out: {"id": 1, "message": {...}}  {"id": 1, "status": {"code": 0, "details": "", "metadata": {...}}}
//
// Bytes are base64, 64-bit numbers are text. "raw" sends those bytes in place of a request.
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const grpc = require('@grpc/grpc-js');
const protobuf = require('protobufjs');

const options = JSON.parse(process.argv[2]);
const root = protobuf.Root.fromJSON(JSON.parse(fs.readFileSync(path.join(__dirname, 'wire.json'), 'utf8')));
root.resolveAll();
const service = root.lookupService('pb.CoreRPC');
const calls = new Map();

function credentials() {
  if (!options.ca) return grpc.credentials.createInsecure();
  const read = (name) => (options[name] ? fs.readFileSync(options[name]) : null);
  return grpc.credentials.createSsl(read('ca'), read('key'), read('certificate'));
}

const client = new grpc.Client(options.address, credentials(), {
  'grpc.max_receive_message_length': -1,
  ...(options.channel || {}),
});

function tell(id, what) {
  process.stdout.write(JSON.stringify({ id, ...what }) + '\n');
}

function metadataOf(command) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries({ ...options.metadata, ...command.metadata })) metadata.set(key, value);
  return metadata;
}

function open(command) {
  const name = command.call || command.open;
  const method = service.methods[name];
  const [requestType, replyType] = [root.lookupType('pb.' + method.requestType), root.lookupType('pb.' + method.responseType)];
  const serialize = (value) => {
    if (value instanceof Buffer) return value;
    return Buffer.from(requestType.encode(requestType.fromObject(value)).finish());
  };
  const deserialize = (data) =>
    replyType.toObject(replyType.decode(data), { bytes: String, longs: String, enums: String, defaults: true });
  const callOptions = command.deadline_ms ? { deadline: Date.now() + command.deadline_ms } : {};
  const route = [`/pb.CoreRPC/${name}`, serialize, deserialize];
  const request = command.raw === undefined ? command.request || {} : Buffer.from(command.raw, 'base64');
  const onReply = (error, reply) => {
    if (!error) tell(command.id, { message: reply });
  };
  let call;
  if (method.requestStream && method.responseStream) {
    call = client.makeBidiStreamRequest(...route, metadataOf(command), callOptions);
  } else if (method.requestStream) {
    call = client.makeClientStreamRequest(...route, metadataOf(command), callOptions, onReply);
  } else if (method.responseStream) {
    call = client.makeServerStreamRequest(...route, request, metadataOf(command), callOptions);
  } else {
    call = client.makeUnaryRequest(...route, request, metadataOf(command), callOptions, onReply);
  }
  calls.set(command.id, call);
  if (method.responseStream) {
    call.on('data', (reply) => tell(command.id, { message: reply }));
    call.on('error', () => {});
    if (command.paused) call.pause();
  }
  call.on('status', (status) => {
    calls.delete(command.id);
    const { code, details, metadata } = status;
    tell(command.id, { status: { code, details, metadata: metadata.getMap() } });
  });
}

function bytesIn(value) {
  // protobufjs takes base64 text for bytes by itself; only raw messages need a Buffer.
  return value && value.raw !== undefined ? Buffer.from(value.raw, 'base64') : value;
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  if (command.call || command.open) {
    open(command);
    return;
  }
  const call = calls.get(command.id);
  if (!call) return;
  if (command.write) call.write(bytesIn(command.write));
  if (command.end) call.end();
  if (command.cancel) call.cancel();
  if (command.pause) call.pause();
  if (command.resume) call.resume();
}).on('close', () => {
  client.close();
  process.exit(0);
});
