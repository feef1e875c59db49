//! What firmware calls, and what is asked of firmware. UEFI Specification 2.10, sections 4, 7 and 9.
#![expect(unsafe_code, reason = "firmware is reached through pointers")]

extern crate alloc;

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::asm,
    ffi::c_void,
    mem, ptr, slice,
    sync::atomic::{AtomicPtr, Ordering},
};

use r_efi::{
    efi::{self, BootServices, Handle, Status, SystemTable},
    protocols::{loaded_image, memory_attribute},
};
use unpacker::Payload;

/// How a kernel wants to lie, so that it need not move itself. Linux, `Documentation/arch/arm64/booting.rst`.
const ALIGNMENT: usize = 0x20_0000;
const PAGE_BYTES: usize = 0x1000;
/// The smallest line of a cache that there may be.
const LINE_BYTES: usize = 16;

static BOOT_SERVICES: AtomicPtr<BootServices> = AtomicPtr::new(ptr::null_mut());

#[global_allocator]
static MEMORY: Pool = Pool;

/// Where firmware begins. Returns only if the kernel was not started.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(handle: Handle, system: *mut SystemTable) -> Status {
    // SAFETY: firmware hands over its table, which stays until the kernel says `ExitBootServices`.
    BOOT_SERVICES.store(unsafe { (*system).boot_services }, Ordering::Relaxed);
    let (what, status) = start(handle, system);
    // SAFETY: the console is absent or a protocol of firmware; the text ends with a NUL, and it does not change it.
    unsafe {
        let console = (*system).con_out;
        if !console.is_null() {
            let mut text: alloc::vec::Vec<u16> = what.encode_utf16().collect();
            text.extend([13, 10, 0]);
            ((*console).output_string)(console, text.as_mut_ptr());
        }
    }
    status
}

/// Returns what went wrong.
fn start(handle: Handle, system: *mut SystemTable) -> (&'static str, Status) {
    let mut found: *mut c_void = ptr::null_mut();
    let mut wanted = loaded_image::PROTOCOL_GUID;
    let status = (services().handle_protocol)(handle, &raw mut wanted, &raw mut found);
    if status.is_error() {
        return ("Firmware does not say where this program is.", status);
    }
    let image = found.cast::<loaded_image::Protocol>();
    // SAFETY: that is where firmware, or who started this, put the program, headers included.
    let program = unsafe {
        let bytes = usize::try_from((*image).image_size).unwrap_or(0);
        slice::from_raw_parts((*image).image_base.cast::<u8>(), bytes)
    };
    let Some(payload) = Payload::find(program) else {
        return ("No packed kernel is in this program.", Status::LOAD_ERROR);
    };
    let pages = (payload.memory + ALIGNMENT).div_ceil(PAGE_BYTES);
    let mut address = 0;
    let status = (services().allocate_pages)(
        efi::ALLOCATE_ANY_PAGES,
        efi::LOADER_CODE,
        pages,
        &raw mut address,
    );
    if status.is_error() {
        return ("There is too little memory for the kernel.", status);
    }
    let Ok(begin) = usize::try_from(address).map(|address| address.next_multiple_of(ALIGNMENT))
    else {
        return ("There is too little memory for the kernel.", Status::OUT_OF_RESOURCES);
    };
    // SAFETY: behind the first multiple of the alignment as much as the kernel takes is still ours.
    let memory = unsafe {
        slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(begin), payload.memory)
    };
    let Some(entry) = payload.unpack(memory) else {
        return ("The packed kernel is damaged.", Status::LOAD_ERROR);
    };
    let bytes = payload.memory;
    make_executable(begin, bytes);
    // SAFETY: the protocol is that of this program, whose place the kernel takes; it looks there for its own beginning.
    // What is called is the kernel's entry for firmware, in memory that holds it whole, and the caches know of it.
    let status = unsafe {
        (*image).image_base = ptr::with_exposed_provenance_mut(begin);
        (*image).image_size = bytes as u64;
        let kernel: extern "efiapi" fn(Handle, *mut SystemTable) -> Status =
            mem::transmute(ptr::with_exposed_provenance::<c_void>(begin + entry));
        kernel(handle, system)
    };
    ("The kernel did not start.", status)
}

/// Has the processor run what was written as data.
fn make_executable(begin: usize, bytes: usize) {
    // SAFETY: these instructions change no memory; they bring what caches hold of it together.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        for line in (begin..begin + bytes).step_by(LINE_BYTES) {
            asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags));
        }
        // All instructions at once, instead of line by line.
        asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack, preserves_flags));
    }
    let mut found: *mut c_void = ptr::null_mut();
    let mut wanted = memory_attribute::PROTOCOL_GUID;
    // SAFETY: firmware writes one pointer; where it has the protocol, it changes what may be done with memory of ours.
    unsafe {
        let status = (services().locate_protocol)(&raw mut wanted, ptr::null_mut(), &raw mut found);
        if !status.is_error() {
            let attributes = found.cast::<memory_attribute::Protocol>();
            let bytes = bytes.next_multiple_of(PAGE_BYTES) as u64;
            let execute = efi::MEMORY_XP | efi::MEMORY_RO;
            ((*attributes).clear_memory_attributes)(attributes, begin as u64, bytes, execute);
        }
    }
}

fn services() -> &'static BootServices {
    // SAFETY: stored before anything asks, and valid until the kernel runs, which does not come back here.
    unsafe { &*BOOT_SERVICES.load(Ordering::Relaxed) }
}

/// Firmware's pool of memory: multiples of eight.
struct Pool;

// SAFETY: each pointer is of a pool of its own, with the alignment that is asked for: the pool's own of eight, or one
// that is made by asking for more, with the pool's pointer kept before it.
unsafe impl GlobalAlloc for Pool {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.align().max(mem::size_of::<usize>());
        let mut found: *mut c_void = ptr::null_mut();
        let bytes = layout.size() + 2 * room;
        let status = (services().allocate_pool)(efi::LOADER_DATA, bytes, &raw mut found);
        if status.is_error() {
            return ptr::null_mut();
        }
        let begin = found.cast::<u8>();
        // SAFETY: there is room for the pointer and the padding before what is handed out.
        unsafe {
            let given = begin.add(room).add(begin.add(room).align_offset(layout.align()));
            given.cast::<*mut u8>().sub(1).write_unaligned(begin);
            given
        }
    }

    unsafe fn dealloc(&self, given: *mut u8, _layout: Layout) {
        // SAFETY: `alloc` wrote there what the pool handed out.
        unsafe { (services().free_pool)(given.cast::<*mut u8>().sub(1).read_unaligned().cast()) };
    }
}

/// Firmware's own watchdog restarts the machine, five minutes after it began this program.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
