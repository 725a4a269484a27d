// Calls a zone canister as a real client does, checking certificates and query signatures; prints one JSON object.
// usage: node agent.mjs LIBRARY HOST CANISTER ["wrong-root-key"], with LIBRARY @dfinity or @icp-sdk/core

const [library, host, canister, trust] = process.argv.slice(2);
const { Actor, CanisterStatus, HttpAgent } = await import(`${library}/agent`);
const { Ed25519KeyIdentity } = await import(`${library}/identity`);
const { Principal } = await import(`${library}/principal`);
const identity = Ed25519KeyIdentity.generate();
const options = { host, identity, verifyQuerySignatures: true };
if (trust !== 'wrong-root-key') options.shouldFetchRootKey = true;
const agent = await HttpAgent.create(options);

const zone = Actor.createActor(
  ({ IDL }) => {
    const error = IDL.Variant({
      insufficient_cycles_available: IDL.Null,
      too_few_cycles_requested: IDL.Null,
      aggregate_quota_reached: IDL.Null,
      canister_quota_reached: IDL.Null,
      other: IDL.Text,
    });
    return IDL.Service({
      get_version: IDL.Func([], [IDL.Nat], ['query']),
      request_topup_if_low: IDL.Func([], [IDL.Variant({ ok: IDL.Nat, err: error })], []),
      add_message: IDL.Func(
        [IDL.Vec(IDL.Nat8), IDL.Vec(IDL.Nat8)],
        [IDL.Variant({ ok: IDL.Nat32, err: IDL.Text })],
        [],
      ),
    });
  },
  { agent, canisterId: canister },
);

const text = async (call) => {
  try {
    return String(await call());
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};

const status = async () => {
  const found = await CanisterStatus.request({
    canisterId: Principal.fromText(canister),
    agent,
    paths: ['controllers', 'module_hash'],
  });
  return JSON.stringify({
    controllers: found.get('controllers').map((controller) => controller.toText()),
    module_hash: found.get('module_hash'),
  });
};

console.log(
  JSON.stringify({
    query: await text(() => zone.get_version()),
    update_ok: await text(async () => (await zone.request_topup_if_low()).ok),
    rejected: await text(() => zone.add_message(new Uint8Array(41), new Uint8Array(1))),
    status: await text(status),
  }),
);
process.exit(0);
