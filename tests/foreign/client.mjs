// A client written from the .proto files alone, in another language than Westward's.
//
//   node client.mjs ADDRESS PROTO_ROOT SPEC_JSON
//
// Submits the job spec, watches the job to its end, reads its logs and asks why it ran where it
// ran. Prints one JSON object. A refused submission is printed as {"refused": {code, message}}.
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, protoRoot, specJson] = process.argv.slice(2);
const definition = loadSync(["westward/v1/job.proto", "westward/v1/placement.proto"], {
  includeDirs: [protoRoot],
  keepCase: true,
  defaults: true,
  longs: Number,
  enums: String,
  oneofs: true,
});
const { JobService, PlacementService } = grpc.loadPackageDefinition(definition).westward.v1;
const credentials = grpc.credentials.createInsecure();
const jobs = new JobService(address, credentials);
const placements = new PlacementService(address, credentials);
const deadline = () => ({ deadline: Date.now() + 60_000 });

const call = (stub, method, request) =>
  new Promise((resolve, reject) =>
    stub[method](request, deadline(), (error, answer) => (error ? reject(error) : resolve(answer))),
  );

async function main() {
  const { job } = await call(jobs, "Submit", { spec: JSON.parse(specJson) });

  const states = [];
  for await (const { job: seen } of jobs.Watch({ job_ids: [job.id], until_final: true }, deadline())) {
    if (states.at(-1) !== seen.state) states.push(seen.state);
  }

  const written = { LOG_STREAM_STDOUT: [], LOG_STREAM_STDERR: [] };
  for await (const chunk of jobs.Logs({ job_id: job.id, follow: true }, deadline())) {
    written[chunk.stream].push(chunk.data);
  }

  const { explanation } = await call(placements, "Explain", { job_id: job.id });
  const [stdout, stderr] = Object.values(written).map((parts) => Buffer.concat(parts).toString());
  return { job_id: job.id, states, stdout, stderr, explanation };
}

try {
  console.log(JSON.stringify(await main()));
} catch (error) {
  if (error.code !== grpc.status.INVALID_ARGUMENT) throw error;
  console.log(JSON.stringify({ refused: { code: grpc.status[error.code], message: error.details } }));
} finally {
  jobs.close();
  placements.close();
}
