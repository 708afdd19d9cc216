//! The two engines that guests run in, and the clock that stops them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::{SetupError, features};

const MIB: usize = 1 << 20;

/// Native stack of Wasm frames, in bytes, unless the operator sets another. One for the whole engine and so for all
/// plug-ins, because the stacks are made with the engine.
pub const STACK_BYTES: usize = 512 << 10;

/// What a stack has beside that, for the host's own functions that a guest calls.
const HOST_STACK_BYTES: usize = 1536 << 10;

/// The largest memory image that is made of scattered initial data. It lies in the compiled file whole, gaps included, so a
/// larger one would let a few bytes of data at either end of a memory make a large file.
pub(crate) const IMAGE_BYTES: u64 = 1 << 20;

/// What memory images are aligned to.
pub(crate) const PAGE_BYTES: u64 = 4 << 10;

/// The most elements of one table that the pool has room for; a component with more runs on demand.
const POOL_TABLE_ELEMENTS: usize = 100_000;

/// Time between two epoch ticks: how late a stop may come.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest after which the ticking thread sleeps.
const IDLE_TICKS: u32 = 100;

/// What compiled code depends on. Equal for the compiler's child process and both engines, so that one file serves all;
/// the size of the stack is looked up at run time, so that the same file serves any.
pub(crate) fn base_config(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_features(features::OFF, false)
        .shared_memory(false)
        .memory_guaranteed_dense_image_size(IMAGE_BYTES)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(stack_bytes)
        .async_stack_size(stack_bytes + HOST_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

/// A hash of everything that compiled code depends on beside its source: version, settings, processor.
pub(crate) fn settings_hash(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The engines. Both load the same compiled files.
pub(crate) struct Engines {
    /// Slots reserved in advance: where nearly everything runs.
    pub(crate) pool: Option<Engine>,
    /// Memory mapped for each instance: for what does not fit a slot, and for machines that cannot reserve the pool.
    pub(crate) on_demand: Engine,
    /// Why there is no pool, when there is none.
    pub(crate) notice: Option<String>,
}

impl Engines {
    /// Reserves a pool for `concurrency` slices at a time, or does without one.
    pub(crate) fn new(concurrency: usize, stack_bytes: usize) -> Result<Self, SetupError> {
        let on_demand = Engine::new(&base_config(stack_bytes)).map_err(SetupError::engine)?;
        let (pool, notice) = match pool_engine(concurrency, stack_bytes) {
            Ok(engine) => (Some(engine), None),
            Err(error) => {
                let notice = format!(
                    "the pool of sandboxes could not be reserved, so each job maps its memory anew, which is slower: {error:#}"
                );
                (None, Some(notice))
            }
        };
        Ok(Self { pool, on_demand, notice })
    }
}

fn pool_engine(concurrency: usize, stack_bytes: usize) -> wasmtime::Result<Engine> {
    let slots = u32::try_from(concurrency.clamp(1, 1024) * 4)?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(slots)
        .total_stacks(slots)
        .total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(5))
        .total_tables(slots.saturating_mul(3))
        .total_gc_heaps(0)
        .max_core_instances_per_component(20)
        .max_memories_per_component(4)
        .max_tables_per_component(10)
        .table_elements(POOL_TABLE_ELEMENTS)
        .linear_memory_keep_resident(4 * MIB)
        .table_keep_resident(MIB);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Auto);
    } else {
        pool.decommit_batch_size(16);
    }
    let mut config = base_config(stack_bytes);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Advances the epochs of both engines while a guest runs, and sleeps when none does.
pub(crate) struct Ticker {
    shared: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

struct TickerState {
    engines: Vec<Engine>,
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// While it lives, the epochs advance.
pub(crate) struct Ticking<'a>(&'a TickerState);

impl Ticker {
    /// Starts the ticking thread, asleep.
    pub(crate) fn start(engines: &Engines) -> Result<Self, SetupError> {
        let engines = engines.pool.iter().chain([&engines.on_demand]).cloned().collect();
        let shared = Arc::new(TickerState {
            engines,
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("sandbox-ticker".into())
            .spawn(move || tick_until_ended(&ticking))
            .map_err(|error| SetupError::Thread(error.to_string()))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that a guest starts; wakes the thread when it sleeps.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Ticking(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tick_until_ended(state: &TickerState) {
    let mut idle = 0;
    while !state.ended.load(Ordering::SeqCst) {
        if state.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            sleep_until_needed(state);
            idle = 0;
        }
        thread::sleep(TICK);
        state.engines.iter().for_each(Engine::increment_epoch);
    }
}

/// Says that it sleeps before it looks a last time, so that a guest that starts in between is seen by one of the two.
fn sleep_until_needed(state: &TickerState) {
    state.asleep.store(true, Ordering::SeqCst);
    while state.running.load(Ordering::SeqCst) == 0 && !state.ended.load(Ordering::SeqCst) {
        thread::park();
    }
    state.asleep.store(false, Ordering::SeqCst);
}
