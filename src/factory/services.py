"""The management canister, as far as the factory uses it (IC interface specification, "The IC management canister").

Declarations only. Replies name just the fields that are read: Candid lets the rest go.
"""

from kybra import Opt, Principal, Record, Service, Variant, Vec, blob, null, service_update, void

from canister_kit.status import CanisterIdRecord, StatusReply


class CreateSettings(Record):
    controllers: Opt[Vec[Principal]]


class CreateCanisterArgs(Record):
    settings: Opt[CreateSettings]


class ChunkHash(Record):
    hash: blob


class UploadChunkArgs(Record):
    canister_id: Principal
    chunk: blob


class InstallMode(Variant, total=False):
    install: null


class InstallChunkedCodeArgs(Record):
    mode: InstallMode
    target_canister: Principal
    store_canister: Opt[Principal]
    chunk_hashes_list: Vec[ChunkHash]
    wasm_module_hash: blob
    arg: blob


class ManagementService(Service):
    @service_update
    def create_canister(self, args: CreateCanisterArgs) -> CanisterIdRecord: ...

    @service_update
    def install_chunked_code(self, args: InstallChunkedCodeArgs) -> void: ...

    @service_update
    def stored_chunks(self, args: CanisterIdRecord) -> Vec[ChunkHash]: ...

    @service_update
    def upload_chunk(self, args: UploadChunkArgs) -> ChunkHash: ...

    @service_update
    def clear_chunk_store(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def deposit_cycles(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def canister_status(self, args: CanisterIdRecord) -> StatusReply: ...


management = ManagementService(Principal.from_str("aaaaa-aa"))
