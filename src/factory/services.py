"""The management canister, as far as the factory uses it (IC interface specification, "The IC management canister").

Declarations only. Replies name just the fields that are read: Candid lets the rest go. Settings that not every platform
tells are optional.
"""

from kybra import Opt, Principal, Record, Service, Variant, Vec, blob, nat, nat64, null, service_update, void

from canister_kit.status import CanisterIdRecord


class Visibility(Variant, total=False):
    controllers: null
    public: null
    allowed_viewers: Vec[Principal]


class CanisterSettingsChange(Record):
    controllers: Opt[Vec[Principal]]
    compute_allocation: Opt[nat]
    memory_allocation: Opt[nat]
    freezing_threshold: Opt[nat]
    reserved_cycles_limit: Opt[nat]
    wasm_memory_limit: Opt[nat]
    wasm_memory_threshold: Opt[nat]
    minimum_incoming_canister_call_cycles: Opt[nat]
    log_visibility: Opt[Visibility]
    snapshot_visibility: Opt[Visibility]
    status_visibility: Opt[Visibility]


class CreateCanisterArgs(Record):
    settings: Opt[CanisterSettingsChange]


class UpdateSettingsArgs(Record):
    canister_id: Principal
    settings: CanisterSettingsChange


class ChunkHash(Record):
    hash: blob


class UploadChunkArgs(Record):
    canister_id: Principal
    chunk: blob


class UpgradeOptions(Record):
    skip_pre_upgrade: Opt[bool]


class InstallMode(Variant, total=False):
    install: null
    reinstall: null
    upgrade: Opt[UpgradeOptions]


class InstallCodeArgs(Record):
    mode: InstallMode
    canister_id: Principal
    wasm_module: blob
    arg: blob


class InstallChunkedCodeArgs(Record):
    mode: InstallMode
    target_canister: Principal
    store_canister: Opt[Principal]
    chunk_hashes_list: Vec[ChunkHash]
    wasm_module_hash: blob
    arg: blob


class CanisterInfoArgs(Record):
    canister_id: Principal
    num_requested_changes: Opt[nat64]


class CanisterInfoReply(Record):
    module_hash: Opt[blob]
    controllers: Vec[Principal]


class RunState(Variant, total=False):
    running: null
    stopping: null
    stopped: null


class ChildSettings(Record):
    controllers: Vec[Principal]
    compute_allocation: nat
    memory_allocation: nat
    freezing_threshold: nat
    reserved_cycles_limit: nat
    wasm_memory_limit: nat
    wasm_memory_threshold: Opt[nat]
    minimum_incoming_canister_call_cycles: Opt[nat]
    log_visibility: Opt[Visibility]
    snapshot_visibility: Opt[Visibility]
    status_visibility: Opt[Visibility]


class ChildQueryStats(Record):
    num_calls_total: nat
    num_instructions_total: nat
    request_payload_bytes_total: nat
    response_payload_bytes_total: nat


class ChildStatus(Record):
    status: RunState
    settings: ChildSettings
    module_hash: Opt[blob]
    memory_size: nat
    cycles: nat
    reserved_cycles: nat
    idle_cycles_burned_per_day: nat
    query_stats: ChildQueryStats


class SnapshotArgs(Record):
    canister_id: Principal
    replace_snapshot: Opt[blob]


class Snapshot(Record):
    id: blob
    taken_at_timestamp: nat64
    total_size: nat64


class LoadSnapshotArgs(Record):
    canister_id: Principal
    snapshot_id: blob


class DeleteSnapshotArgs(Record):
    canister_id: Principal
    snapshot_id: blob


class ManagementService(Service):
    @service_update
    def create_canister(self, args: CreateCanisterArgs) -> CanisterIdRecord: ...

    @service_update
    def update_settings(self, args: UpdateSettingsArgs) -> void: ...

    @service_update
    def install_code(self, args: InstallCodeArgs) -> void: ...

    @service_update
    def install_chunked_code(self, args: InstallChunkedCodeArgs) -> void: ...

    @service_update
    def uninstall_code(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def start_canister(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def stop_canister(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def delete_canister(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def stored_chunks(self, args: CanisterIdRecord) -> Vec[ChunkHash]: ...

    @service_update
    def upload_chunk(self, args: UploadChunkArgs) -> ChunkHash: ...

    @service_update
    def clear_chunk_store(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def deposit_cycles(self, args: CanisterIdRecord) -> void: ...

    @service_update
    def canister_status(self, args: CanisterIdRecord) -> ChildStatus: ...

    @service_update
    def canister_info(self, args: CanisterInfoArgs) -> CanisterInfoReply: ...

    @service_update
    def take_canister_snapshot(self, args: SnapshotArgs) -> Snapshot: ...

    @service_update
    def load_canister_snapshot(self, args: LoadSnapshotArgs) -> void: ...

    @service_update
    def list_canister_snapshots(self, args: CanisterIdRecord) -> Vec[Snapshot]: ...

    @service_update
    def delete_canister_snapshot(self, args: DeleteSnapshotArgs) -> void: ...


management = ManagementService(Principal.from_str("aaaaa-aa"))
