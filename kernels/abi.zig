//! The one description of the boundary between TypeScript and the native library: types and function types, no code.
//! `zig build abi` prints src/native/abi.gen.ts from it. Both sides carry `hash` and refuse to work with another one.
//!
//! What may cross: u32, i32, f32, f64 by value; pointers to extern structs and to bytes; u64 only inside structs;
//! text as pointer + u32 length. Handles are u32 = generation << 8 | slot. Out-parameters come last and are written only on `ok`.
//! Arguments are borrowed for the length of the call: the library copies what it keeps.
const std = @import("std");
const assert = std.debug.assert;
const registry = @import("codecs/registry.zig");

/// How a call or a job ended.
pub const Status = enum(i32) {
    ok = 0,
    /// The job was cancelled by `dq_job_cancel`.
    cancelled = 1,
    /// An argument contradicts itself or the library's own limits: a fault of the caller.
    bad_argument = 2,
    /// The handle is stale or was never given out.
    bad_handle = 3,
    /// No more handles: too many jobs or matrices are alive.
    too_many = 4,
    out_of_memory = 5,
    /// The level is unknown or this CPU cannot run it.
    unsupported = 6,
    /// A system call failed; `Report.errno` and `Report.operation` say which.
    io = 7,
    /// A source file is shorter or other than it was when its header was read.
    source_changed = 8,
    /// The smallest working set does not fit `JobOptions.memory_max`.
    memory_limit = 9,
    /// A verify job found elements that differ.
    mismatch = 10,
    /// A scale is NaN or infinite, or a zero that divides; `Report.step` and `Report.source` say which.
    bad_scale = 11,
    /// An activation is NaN, infinite, or beyond 2^88.
    out_of_range = 12,
    /// A target is not whole although all work was done: a fault of the library, found before anybody reads the file.
    incomplete = 13,
    /// The weight's codec, or this variety of it, has no products.
    no_products = 14,
    /// It has none in int8 arithmetic, which was asked for.
    float_only = 15,
};

/// A format of stored values. The name is used for the file in codecs/, the vector file, CLI text and bench labels.
pub const Codec = @Type(.{ .@"enum" = .{
    .tag_type = u32,
    .fields = &codecFields(),
    .decls = &.{},
    .is_exhaustive = true,
} });

/// `copy`, then the registry in its order.
fn codecFields() [@typeInfo(registry).@"struct".decls.len + 1]std.builtin.Type.EnumField {
    const declarations = @typeInfo(registry).@"struct".decls;
    var fields: [declarations.len + 1]std.builtin.Type.EnumField = undefined;
    // Bytes as they are; the only codec whose target dtype is `bytes`.
    fields[0] = .{ .name = "copy", .value = 0 };
    for (fields[1..], declarations, 1..) |*field, declaration, value|
        field.* = .{ .name = declaration.name, .value = value };
    return fields;
}

/// What a target element is.
pub const Dtype = enum(u32) { f32 = 0, f16 = 1, bf16 = 2, bytes = 3 };

/// How the bytes of files are reached. `auto` is resolved by the library.
pub const IoMode = enum(u32) {
    auto = 0,
    /// Sources are mapped. A target is mapped too, beside one writer at a time that calls the system.
    mmap = 1,
    /// Read and written through the page cache.
    pread = 2,
    /// Read and written around the page cache (O_DIRECT), as far as the file system lets; `Report.refused_file`.
    direct = 3,
};

pub const JobKind = enum(u32) {
    /// Decode every step into its target file.
    convert = 0,
    /// Decode again with the scalar code and compare with the target file, bit for bit.
    verify = 1,
    /// Read one step into the tiles of a matrix. It has no target: `target_file` is `none`. Only for `dq_matrix_load`.
    load = 2,
    /// Read steps of `copy` and sum their bytes up, file by file (`dq_job_file`). They have no target: `target_file` is
    /// `none`.
    digest = 3,
};

/// What becomes of W · x + b before it is stored. Formulas: matvec/activation.zig.
pub const Activation = enum(u32) {
    none = 0,
    relu = 1,
    silu = 2,
    /// With erf.
    gelu = 3,
    /// With tanh.
    gelu_tanh = 4,
    /// silu(gate) · up: the first half of the rows is the gate, the second the up.
    swiglu = 5,
    /// Of gpt-oss: even rows are the gate, odd ones the up; clamped at 7, alpha 1.702.
    swiglu_oss = 6,
};

/// How weights and activations are multiplied.
pub const Arithmetic = enum(u32) {
    /// What a measurement at load finds faster; float where both are alike.
    auto = 0,
    /// Codes become f32; f32 sums.
    float = 1,
    /// Activations become int8 with a scale for 32 columns; exact integer sums, f32 across them.
    int8 = 2,
};

/// Which rows share a tile.
pub const Pairing = enum(u32) {
    /// 16 neighbours: all activations but swiglu.
    none = 0,
    /// 8 of the first and 8 of the second half: swiglu, and swiglu_oss where rows % 4 is 0.
    halves = 1,
};

/// Whether the memory of a worker's tiles is bound to its node.
pub const Binding = enum(u32) {
    /// There is one node alone, or binding is off.
    none = 0,
    bound = 1,
    /// The system forbids it: pages are where the worker's first write put them.
    refused = 2,
};

/// What dq_stream_measure does with memory.
pub const Stream = enum(u32) {
    read = 0,
    /// Four runs side by side for each worker.
    read_interleaved = 1,
    /// With ordinary stores.
    copy = 2,
    /// With stores that go around the caches.
    copy_streaming = 3,
    /// Only writes, with such stores.
    write_streaming = 4,
};

/// The system call that failed, for messages.
pub const Operation = enum(u32) { none = 0, open = 1, stat = 2, map = 3, read = 4, allocate = 5, write = 6, sync = 7, thread = 8 };

/// Most sources that one step can name.
pub const source_count_max = 6;
/// Free numbers whose meaning each codec states.
pub const parameter_count_max = 8;
/// Most columns that one product takes.
pub const batch_max = 16;
/// Value of an index field that points at nothing.
pub const none: u32 = std.math.maxInt(u32);

/// Where the bytes of one role (codes, scales, zero points …) of a weight are. A source is made of lines:
/// line `l` of batch item `b` starts at offset + b * batch_bytes + l * line_bytes and serves the stored rows
/// l * rows_per_line … (l + 1) * rows_per_line - 1. Within a line, the columns c … c + unit_columns - 1 (c a multiple of
/// unit_columns) take unit_bytes bytes at (c / unit_columns) * unit_bytes.
pub const Source = extern struct {
    file: u32,
    /// Stored rows that share one line; 0: the whole source belongs to every row (one line).
    rows_per_line: u32,
    offset: u64,
    /// All bytes of the source, every batch item included.
    size: u64,
    line_bytes: u64,
    /// 0: every batch item shares the bytes.
    batch_bytes: u64,
    /// 0: a line cannot be cut by columns.
    unit_columns: u32,
    unit_bytes: u32,
};

/// The work that makes one dense tensor: `batch_count` stored matrices of rows × columns, each decoded to
/// rows × columns (or columns × rows when `transposed`) elements of `dtype`, one after the other at `target_offset`.
pub const Step = extern struct {
    codec: Codec,
    dtype: Dtype,
    /// 1: each matrix is transposed on its way.
    transposed: u32,
    source_count: u32,
    batch_count: u64,
    /// Rows of one matrix.
    rows: u64,
    /// Values in one stored row. For `copy`: bytes in one row.
    columns: u64,
    /// A tile starts at a multiple of these; the codec's blocks are never cut.
    row_align: u32,
    column_align: u32,
    target_file: u32,
    /// 1: the rows are those of one stored matrix. More: matrices of rows / part_count rows take turns, so that row r is
    /// row r / part_count of part r % part_count. Each part has its own source_count / part_count sources, part after part.
    part_count: u32,
    /// Another order of rows: row (o * swap_middle + m) * swap_inner + i of the matrix is stored as row
    /// (o * swap_inner + i) * swap_middle + m. 1 and 1: rows are as they are stored.
    swap_middle: u32,
    swap_inner: u32,
    target_offset: u64,
    target_size: u64,
    parameters: [parameter_count_max]u32,
    sources: [source_count_max]Source,
};

pub const FileRole = enum(u32) { source = 0, target = 1 };

pub const File = extern struct {
    role: FileRole,
    path_size: u32,
    /// Position of the path in the plan's text.
    path_offset: u64,
    /// Source: size when its header was read. Target: size of the finished file.
    size: u64,
    /// Source: identity when its header was read; a file that differs at open or at the end is `source_changed`.
    device: u64,
    inode: u64,
    mtime_ns: u64,
    /// Target: bytes in the plan's text that go to the start of the file (the safetensors header).
    head_offset: u64,
    head_size: u64,
};

/// Start of the plan buffer; then follow `file_count` Files, `step_count` Steps, and the text.
pub const Plan = extern struct {
    hash: u32,
    file_count: u32,
    step_count: u32,
    reserved: u32 = 0,
    text_size: u64,
};

pub const JobOptions = extern struct {
    kind: JobKind,
    /// Of sources.
    io: IoMode,
    /// 0: one for each allowed physical core.
    thread_count: u32,
    /// 1: fsync each target when its last byte is written.
    sync: u32,
    /// Bound of all working buffers together, in bytes.
    memory_max: u64,
    /// verify: tiles compared for each step, spread evenly with the first and the last always among them; 0: all.
    sample_tiles: u32,
    /// 1: a scale that is NaN or infinite, or a zero that divides, ends the job.
    check_scales: u32,
    /// 1: targets that were done before a convert job failed, or was cancelled, stay.
    keep_done: u32,
    /// 1: BLAKE3 of each file (`FileReport.hash`) and each step (`dq_job_hashes`), while their bytes are written or read.
    hashes: u32,
    /// Of targets that are written; verify reads them through the page cache.
    target_io: IoMode,
    /// 1: what was read or written leaves the page cache soon, for the job is larger than it.
    drop_cache: u32,
};

pub const Progress = extern struct {
    bytes_done: u64,
    bytes_total: u64,
    /// A step that is being worked on, or `none`.
    step: u32,
    running: u32,
    status: Status,
    /// Files whose `FileReport.is_done` is 1.
    files_done: u32,
};

/// What is known of one file of a job's plan.
pub const FileReport = extern struct {
    /// Of a target that was written, or of what a digest job read of a source: convert/seal.zig.
    checksum: u64,
    /// Results in this file that are NaN or infinite, and the first step that has one.
    non_finite_count: u64,
    non_finite_step: u32,
    /// 1: a target is whole and, where the job syncs, on its device; a source is read to its end.
    is_done: u32,
    /// BLAKE3 of a file that is done, all of whose bytes the steps (and the head) have; zeros where no hash was asked for.
    hash: [32]u8,
};

/// What a finished job has to say. Fields that do not apply are 0 or `none`.
/// `mismatch` of a verify job with a `file`: that target has another size (`operation` is stat) or another head (read)
/// than the plan says, and its elements were not compared.
pub const Report = extern struct {
    status: Status,
    errno: u32,
    operation: Operation,
    file: u32,
    step: u32,
    thread_count: u32,
    io: IoMode,
    target_io: IoMode,
    /// A file that could not be reached by `direct` and went through the page cache.
    refused_file: u32,
    /// Position among the sources of `step`.
    source: u32,
    /// Bytes of working memory in use at the most.
    memory_bytes: u64,
    bytes_read: u64,
    bytes_written: u64,
    /// Elements compared by a verify job.
    elements_compared: u64,
    /// Results that are NaN or infinite, and the first step (in plan order) that has one.
    non_finite_count: u64,
    non_finite_step: u32,
    mismatch_step: u32,
    mismatch_count: u64,
    /// First differing element of `mismatch_step`, by its position in the dense tensor; its bits found and expected.
    mismatch_element: u64,
    mismatch_found: u32,
    mismatch_expected: u32,
    /// Wall time from start to the last byte, in nanoseconds.
    elapsed_ns: u64,
};

/// What a job would need. `dq_job_measure` fills it without touching a file.
pub const Measure = extern struct {
    thread_count: u32,
    io: IoMode,
    target_io: IoMode,
    reserved: u32 = 0,
    tile_count: u64,
    /// Bytes of working buffers at the most.
    memory_bytes: u64,
};

/// Names are NUL-padded ASCII.
pub const Machine = extern struct {
    level: [32]u8,
    cpu: [64]u8,
    /// Bit i: level i of `dq_level_name` runs here.
    level_mask: u32,
    level_count: u32,
    cpu_count_online: u32,
    /// After sched_getaffinity.
    cpu_count_allowed: u32,
    /// Distinct cores among the allowed CPUs.
    core_count_allowed: u32,
    node_count: u32,
    /// cgroup cpu.max in thousandths of a CPU; 0: no limit.
    cpu_limit_milli: u32,
    /// What -j 0 becomes.
    thread_count: u32,
    memory_total: u64,
    memory_available: u64,
    /// 0: no limit.
    memory_limit_cgroup: u64,
    /// 0 never, 1 madvise, 2 always.
    huge_pages: u32,
    huge_page_kib: u32,
};

/// A single matrix decoded in the caller's thread: for self-tests and small reads. All pointers are addresses of
/// memory that outlives the call.
pub const DecodeRequest = extern struct {
    codec: Codec,
    dtype: Dtype,
    transposed: u32,
    source_count: u32,
    rows: u64,
    columns: u64,
    target: u64,
    target_size: u64,
    parameters: [parameter_count_max]u32,
    sources: [source_count_max]Source,
    /// Address of the bytes of source i; `Source.file` and `Source.offset` are not used.
    addresses: [source_count_max]u64,
};

pub const MatrixOptions = extern struct {
    /// 0: one for each allowed physical core.
    thread_count: u32,
    /// 1: workers are bound to cores, and what they multiply to the memory next to them.
    numa: u32,
    arithmetic: Arithmetic,
    pairing: Pairing,
    /// Codec of the tiles; `copy`: the one that is stored. Dense weights can become mxfp4.
    tile_codec: Codec,
    reserved: u32 = 0,
    /// Bound of the tiles and of what loading them takes, in bytes.
    memory_max: u64,
};

/// What `dq_matrix_load` made.
pub const MatrixInfo = extern struct {
    rows: u64,
    columns: u64,
    batch_count: u64,
    /// Bytes of the tiles of one matrix: what one product reads.
    matrix_bytes: u64,
    /// Bytes of all tiles, with what pages round them up to.
    memory_bytes: u64,
    /// Scales, or dense values, that are NaN or infinite.
    non_finite_count: u64,
    codec: Codec,
    /// Never `auto`.
    arithmetic: Arithmetic,
    pairing: Pairing,
    /// Workers that have rows of this matrix, and those of its team.
    worker_count: u32,
    thread_count: u32,
    /// 1: int8 arithmetic can be chosen.
    has_int8: u32,
    /// Significant bits that decoded weights are rounded to where tiles keep their factors; 0: tiles stand for just these.
    weight_bits: u32,
    reserved: u32 = 0,
    /// What the choice of `auto` measured; 0: nothing.
    float_ns: u64,
    int8_ns: u64,
    /// Level of the kernels, NUL-padded ASCII.
    level: [32]u8,
};

/// The rows of one worker. With `Pairing.halves` the same run of the second half is its too.
pub const MatrixShare = extern struct {
    row_begin: u64,
    row_end: u64,
    memory_bytes: u64,
    node: u32,
    /// The CPU it is bound to, or `none` where it may move.
    cpu: u32,
    binding: Binding,
    /// Why binding was refused.
    binding_errno: u32,
};

/// Where a worker of a team of the default size runs.
pub const WorkerPlace = extern struct {
    node: u32,
    /// The CPU it is bound to, or `none` where it may move.
    cpu: u32,
};

/// y = activation(W · x + bias). Addresses are of f32 in the caller's memory; counts are of elements.
pub const MatrixRequest = extern struct {
    /// [batch][columns].
    x: u64,
    x_count: u64,
    /// [batch][rows], or half as many rows for swiglu and swiglu_oss.
    y: u64,
    y_count: u64,
    /// [rows]; count 0: none.
    bias: u64,
    bias_count: u64,
    /// Which matrix of a stacked weight.
    item: u64,
    /// Columns of x, 1 to batch_max.
    batch: u32,
    activation: Activation,
    /// `auto`: what the matrix was loaded for.
    arithmetic: Arithmetic,
    /// 1, of the reference: multiply the weight as it is stored, though the tiles hold it rounded.
    stored: u32,
};

pub const StreamOptions = extern struct {
    /// 0: one for each allowed physical core.
    thread_count: u32,
    numa: u32,
    /// Bytes that one measurement reads, or copies.
    size: u64,
};

/// Matrices of made-up values that dq_stream_decode decodes from memory to memory.
pub const StreamDecode = extern struct {
    codec: Codec,
    dtype: Dtype,
    transposed: u32,
    reserved: u32 = 0,
    /// Bytes that one measurement reads, or writes, at the most; 0: as many as the stream has.
    size: u64,
};

/// One pass over memory of all workers together.
pub const StreamPass = extern struct {
    elapsed_ns: u64,
    /// Stored bytes, and dense ones.
    bytes_read: u64,
    bytes_written: u64,
    element_count: u64,
};

pub const enums = .{ Status, Codec, Dtype, IoMode, JobKind, Operation, FileRole, Activation, Arithmetic, Pairing, Binding, Stream };
pub const structs = .{
    Source,        Step,       File,        Plan,          JobOptions,    Progress,   Report,      Measure,      Machine,    DecodeRequest,
    MatrixOptions, MatrixInfo, MatrixShare, MatrixRequest, StreamOptions, FileReport, WorkerPlace, StreamDecode, StreamPass,
};
pub const constants = .{
    .{ "SOURCE_COUNT_MAX", source_count_max },
    .{ "PARAMETER_COUNT_MAX", parameter_count_max },
    .{ "BATCH_MAX", batch_max },
    .{ "NONE", none },
};

/// The exported functions. library.zig defines each of them with exactly this type.
pub const functions = struct {
    /// The hash of this file's names, offsets, types and values; the same number as ABI_HASH in abi.gen.ts.
    pub const dq_abi_hash = fn () callconv(.c) u32;
    pub const dq_machine = fn (machine: *Machine) callconv(.c) Status;
    /// The workers of a team of the default size, up to count_max of them; returns how many there are, 0 on failure.
    pub const dq_machine_workers = fn (places: [*]WorkerPlace, count_max: u32) callconv(.c) u32;
    /// Name of level `index`, best first, the scalar code last; returns its length, 0 past the end.
    pub const dq_level_name = fn (index: u32, name: [*]u8, name_size_max: u32) callconv(.c) u32;
    /// Makes the named level the one that new jobs use. An empty name: the best one. `unsupported` where this CPU lacks it.
    pub const dq_level_select = fn (name: [*]const u8, name_size: u32) callconv(.c) Status;
    pub const dq_decode = fn (request: *const DecodeRequest, non_finite_count: *u64) callconv(.c) Status;
    pub const dq_job_measure = fn (plan: [*]const u8, plan_size: u32, options: *const JobOptions, measure: *Measure) callconv(.c) Status;
    pub const dq_job_start = fn (plan: [*]const u8, plan_size: u32, options: *const JobOptions, job: *u32) callconv(.c) Status;
    pub const dq_job_poll = fn (job: u32, progress: *Progress) callconv(.c) Status;
    pub const dq_job_cancel = fn (job: u32) callconv(.c) Status;
    /// `bad_argument` while the job runs.
    pub const dq_job_report = fn (job: u32, report: *Report) callconv(.c) Status;
    /// What is known of file `file` of the plan; while the job runs too.
    pub const dq_job_file = fn (job: u32, file: u32, report: *FileReport) callconv(.c) Status;
    /// BLAKE3 of the bytes of `count` steps from `first` on, 32 bytes for each; after a job that hashes has ended.
    pub const dq_job_hashes = fn (job: u32, first: u32, hashes: [*]u8, count: u32) callconv(.c) Status;
    /// Cancels, waits for the workers and frees everything.
    pub const dq_job_destroy = fn (job: u32) callconv(.c) Status;
    /// Starts to read a plan of one step (JobKind.load). The matrix can be multiplied with when that has ended well.
    pub const dq_matrix_load = fn (plan: [*]const u8, plan_size: u32, options: *const MatrixOptions, matrix: *u32) callconv(.c) Status;
    /// How far loading, or the reference, is.
    pub const dq_matrix_poll = fn (matrix: u32, progress: *Progress) callconv(.c) Status;
    pub const dq_matrix_cancel = fn (matrix: u32) callconv(.c) Status;
    /// How loading, or the reference, ended; `bad_argument` while it runs.
    pub const dq_matrix_report = fn (matrix: u32, report: *Report) callconv(.c) Status;
    pub const dq_matrix_info = fn (matrix: u32, info: *MatrixInfo) callconv(.c) Status;
    pub const dq_matrix_share = fn (matrix: u32, worker: u32, share: *MatrixShare) callconv(.c) Status;
    /// `bad_argument` before the matrix is loaded, while its reference is computed, and for sizes that do not fit.
    pub const dq_matrix_multiply = fn (matrix: u32, request: *const MatrixRequest) callconv(.c) Status;
    /// The same product `count` times; the nanoseconds of each, timed inside the library, as u64.
    pub const dq_matrix_repeat = fn (matrix: u32, request: *const MatrixRequest, times: [*]u64, count: u32) callconv(.c) Status;
    /// Starts to compute W · x of a request in f64, from the source files by the scalar code: neither tiles nor kernels
    /// take part. y and bias are not used.
    pub const dq_matrix_reference = fn (matrix: u32, request: *const MatrixRequest) callconv(.c) Status;
    /// The reference's [batch][rows] sums, as f64.
    pub const dq_matrix_reference_read = fn (matrix: u32, sums: [*]f64, count: u32) callconv(.c) Status;
    /// Cancels, waits and frees everything.
    pub const dq_matrix_destroy = fn (matrix: u32) callconv(.c) Status;
    /// Memory and workers for measuring what this machine's memory gives.
    pub const dq_stream_create = fn (options: *const StreamOptions, stream: *u32) callconv(.c) Status;
    /// One pass; `kind` is a Stream.
    pub const dq_stream_measure = fn (stream: u32, kind: u32, elapsed_ns: *u64) callconv(.c) Status;
    /// One pass of decoding at the level in use. Its matrices, no more of them than fit the stream's size, are made up
    /// before the clock starts.
    pub const dq_stream_decode = fn (stream: u32, request: *const StreamDecode, pass: *StreamPass) callconv(.c) Status;
    pub const dq_stream_destroy = fn (stream: u32) callconv(.c) Status;
};

pub const hash: u32 = blk: {
    @setEvalBranchQuota(500_000);
    var h = std.hash.Fnv1a_32.init();
    for (constants) |c| h.update(std.fmt.comptimePrint("{s}={d};", .{ c[0], c[1] }));
    for (enums) |E| {
        h.update(@typeName(E) ++ @typeName(@typeInfo(E).@"enum".tag_type));
        for (@typeInfo(E).@"enum".fields) |f| h.update(std.fmt.comptimePrint("{s}={d};", .{ f.name, f.value }));
    }
    for (structs) |S| {
        h.update(std.fmt.comptimePrint("{s}:{d};", .{ @typeName(S), @sizeOf(S) }));
        for (@typeInfo(S).@"struct".fields) |f|
            h.update(std.fmt.comptimePrint("{s}@{d}:{s};", .{ f.name, @offsetOf(S, f.name), @typeName(f.type) }));
    }
    for (@typeInfo(functions).@"struct".decls) |d| h.update(d.name ++ ":" ++ @typeName(@field(functions, d.name)) ++ ";");
    break :blk h.final();
};

comptime {
    // No hidden padding: every byte of a struct is written by the other side.
    @setEvalBranchQuota(50_000);
    for (structs) |S| {
        var size: usize = 0;
        for (@typeInfo(S).@"struct".fields) |f| {
            assert(@offsetOf(S, f.name) == size);
            size += @sizeOf(f.type);
        }
        assert(size == @sizeOf(S));
    }
}
