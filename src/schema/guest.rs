//! A WebAssembly module as a pure function from text to text: no imports, bounded fuel, bounded memory,
//! a fresh instance for each call.

use std::sync::OnceLock;

use wasmi::{
    Config, Engine, ExternType, FuncType, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, ValType,
};

use super::error::PackErrorKind;
use crate::base::limits::JSON_BYTES;

/// What one call may do, in about as many instructions.
const FUEL: u64 = 100_000_000;
/// The memory of one instance, in bytes.
const MEMORY_BYTES: usize = 64 << 20;
/// The elements of an instance's table: its functions that are called indirectly.
const TABLE_ELEMENTS: usize = 10_000;
/// Largest module, in bytes.
const MODULE_BYTES: usize = 4 << 20;

/// A module that keeps to the rules.
#[derive(Debug, Clone)]
pub(super) struct Guest(Module);

/// One engine for all: it holds translated code and no state of any guest.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::default();
        config.consume_fuel(true).allow_start_fn(false).wasm_multi_memory(false);
        Engine::new(&config)
    })
}

impl Guest {
    /// Reads a module and holds it to the rules, before anything runs.
    pub fn load(bytes: &[u8]) -> Result<Self, PackErrorKind> {
        let fault = |why: String| PackErrorKind::Module { why };
        if bytes.len() > MODULE_BYTES {
            return Err(fault(format!("it is over {MODULE_BYTES} bytes")));
        }
        // Without this a text or a component would be told in the words of a damaged module.
        if !bytes.starts_with(b"\0asm\x01\0\0\0") {
            return Err(fault("it is not a core module of WebAssembly 1 in binary form".to_owned()));
        }
        let module = Module::new(engine(), bytes).map_err(|error| fault(error.to_string()))?;
        if let Some(import) = module.imports().next() {
            let name = format!("{}.{}", import.module(), import.name());
            return Err(fault(format!("it imports {name}, and a step has nothing but its members")));
        }
        let function = |name: &str, params: &[ValType], results: &[ValType]| {
            let wanted = FuncType::new(params.iter().copied(), results.iter().copied());
            matches!(module.get_export(name), Some(ExternType::Func(own)) if own == wanted)
        };
        use ValType::{I32, I64};
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(fault("it exports no memory of the name memory".to_owned()));
        }
        if !function("alloc", &[I32], &[I32]) {
            return Err(fault("it exports no function alloc from i32 to i32".to_owned()));
        }
        if !function("run", &[I32, I32], &[I64]) {
            return Err(fault("it exports no function run from two i32 to i64".to_owned()));
        }
        Ok(Self(module))
    }

    /// Calls it; what it answers is any bytes.
    pub fn run(&self, input: &str) -> Result<Vec<u8>, String> {
        self.call(input).map_err(|error| error.to_string())
    }

    fn call(&self, input: &str) -> Result<Vec<u8>, wasmi::Error> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_BYTES)
            .table_elements(TABLE_ELEMENTS)
            .instances(1)
            .memories(1)
            .tables(1)
            .build();
        let mut store: Store<StoreLimits> = Store::new(engine(), limits);
        store.limiter(|limits| limits);
        store.set_fuel(FUEL)?;
        let instance = Linker::new(engine()).instantiate_and_start(&mut store, &self.0)?;
        let missing = || wasmi::Error::new("an export is gone");
        let memory = instance.get_memory(&store, "memory").ok_or_else(missing)?;
        let alloc = instance.get_typed_func::<i32, i32>(&store, "alloc")?;
        let run = instance.get_typed_func::<(i32, i32), i64>(&store, "run")?;
        let too_long = |_| wasmi::Error::new("the members it reads are too long");
        let len = i32::try_from(input.len()).map_err(too_long)?;
        let at = alloc.call(&mut store, len)?;
        let outside = |what: &str| wasmi::Error::new(format!("{what} is outside its memory"));
        // Addresses are unsigned, whatever their type says.
        memory
            .write(&mut store, at.cast_unsigned() as usize, input.as_bytes())
            .map_err(|_| outside("the place it gives for its input"))?;
        let answer = run.call(&mut store, (at, len))?.cast_unsigned();
        let (start, len) = ((answer >> 32) as usize, (answer & 0xFFFF_FFFF) as usize);
        if len > JSON_BYTES {
            return Err(wasmi::Error::new(format!("its answer is over {JSON_BYTES} bytes")));
        }
        let end = start.saturating_add(len);
        let bytes = memory.data(&store).get(start..end);
        Ok(bytes.ok_or_else(|| outside("its answer"))?.to_vec())
    }
}
