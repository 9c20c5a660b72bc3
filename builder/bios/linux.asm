; linux.asm: the Linux/x86 boot protocol [boot.rst].

; Fields of the setup header, as offsets into the kernel file. FS is KERNEL's
; segment where they are used.
SETUP_SECTS     equ 0x1F1
SYSSIZE         equ 0x1F4       ; protected mode part, in 16 bytes
VID_MODE        equ 0x1FA
BOOT_FLAG       equ 0x1FE
HEADER          equ 0x202
PROTOCOL        equ 0x206
TYPE_OF_LOADER  equ 0x210
LOADFLAGS       equ 0x211
RAMDISK_IMAGE   equ 0x218
RAMDISK_SIZE    equ 0x21C
HEAP_END_PTR    equ 0x224
CMD_LINE_PTR    equ 0x228
INITRD_MAX      equ 0x22C
ALIGNMENT       equ 0x230
RELOCATABLE     equ 0x234
CMDLINE_SIZE    equ 0x238
PREF_ADDRESS    equ 0x258
INIT_SIZE       equ 0x260
LOADED_HIGH     equ 0x01        ; bits of LOADFLAGS
CAN_USE_HEAP    equ 0x80

; Protocol 2.10, of Linux 2.6.31, is the first that tells how much memory the
; kernel needs.
OLDEST_PROTOCOL equ 0x020A
; The real mode part must end before its heap: 0x8000 bytes, boot sector and
; all, which also is one read.
SETUP_MAX       equ 64

; boot_slot loads [slot] and enters its kernel. It returns only on failure,
; with the reason printed.
boot_slot:
        call load_command_line
        jc .fail
        call load_kernel
        jc .fail
        call load_initrd
        jnc enter_kernel
.fail:  ret

; load_command_line reads the kernel's arguments to COMMAND_LINE.
load_command_line:
        mov word [file_name], text_command
        mov bx, [slot]
        mov byte [COMMAND_LINE], 0
        mov eax, [bx+SLOT_CMD_BYTES]
        test eax, eax
        jz .done                ; no arguments
        mov si, text_long
        cmp eax, 2047
        ja fault
        mov ecx, [bx+SLOT_CMD_LBA]
        mov [file_lba], ecx
        mov ecx, [bx+SLOT_CMD_LBA+4]
        mov [file_lba+4], ecx
        lea cx, [eax+511]
        shr cx, 9
        mov edi, COMMAND_LINE
        call read_sectors
        jc .fail
        mov bx, [slot]
        mov cx, [bx+SLOT_CMD_BYTES]
        mov si, COMMAND_LINE
        call crc32              ; leaves SI at the end
        mov byte [si], 0
        mov bx, [slot]
        cmp eax, [bx+SLOT_CMD_CRC]
        mov si, text_damaged
        jne fault
.done:  clc
.fail:  ret

; load_kernel reads the kernel: the real mode part to KERNEL, the rest to
; KERNEL_HIGH. It leaves in [kernel_end] where the initrd may begin.
load_kernel:
        mov word [file_name], text_kernel
        mov bx, [slot]
        mov eax, [bx+SLOT_KRN_LBA]
        mov [file_lba], eax
        mov eax, [bx+SLOT_KRN_LBA+4]
        mov [file_lba+4], eax
        mov eax, [bx+SLOT_KRN_BYTES]
        add eax, 511
        jc .damaged
        shr eax, 9
        mov [file_sectors], eax
        mov cx, SETUP_MAX       ; more than there is cannot matter: what is
        cmp eax, SETUP_MAX      ; not setup is read again
        jae .head
        mov cx, ax
.head:  mov edi, KERNEL
        call read_sectors
        jc .fail

        mov si, text_no_kernel
        cmp word [fs:BOOT_FLAG], 0xAA55
        jne fault
        cmp dword [fs:HEADER], 'HdrS'
        jne fault
        mov si, text_old_kernel
        cmp word [fs:PROTOCOL], OLDEST_PROTOCOL
        jb fault
        test byte [fs:LOADFLAGS], LOADED_HIGH
        jz fault
        mov si, text_long
        mov bx, [slot]
        mov eax, [bx+SLOT_CMD_BYTES]
        cmp eax, [fs:CMDLINE_SIZE]
        ja fault

        ; The file is as long as its header says, or longer: a signature for
        ; secure boot may follow.
        movzx eax, byte [fs:SETUP_SECTS]
        test al, al
        jnz .sects
        mov al, 4               ; boot.rst, setup_sects
.sects: inc ax                  ; the boot sector
        cmp ax, SETUP_MAX
        ja .damaged
        sub [file_sectors], eax
        jbe .damaged
        add [file_lba], eax
        adc dword [file_lba+4], 0
        mov ecx, [file_sectors]
        mov edx, [fs:SYSSIZE]
        add edx, 31             ; in sectors, rounded up
        jc .damaged
        shr edx, 5
        cmp edx, ecx
        ja .damaged

        ; The kernel needs memory twice: where it is loaded, and from where
        ; it unpacks itself for init_size bytes (boot.rst, init_size).
        mov ebx, KERNEL_HIGH
        mov ebp, ecx
        shl ebp, 9              ; no overflow: below 4 GiB in bytes
        add ebp, ebx
        jc .memory
        mov [kernel_end], ebp
        call need_ram
        jc .memory
        cmp dword [fs:PREF_ADDRESS+4], 0
        jne .memory
        mov ebx, [fs:PREF_ADDRESS]
        cmp byte [fs:RELOCATABLE], 0
        je .runtime
        cmp ebx, KERNEL_HIGH
        jae .align
        mov ebx, KERNEL_HIGH
.align: mov eax, [fs:ALIGNMENT] ; a power of two
        dec eax
        add ebx, eax
        jc .memory
        not eax
        and ebx, eax
.runtime:
        mov ebp, [fs:INIT_SIZE]
        add ebp, ebx
        jc .memory
        call need_ram
        jc .memory
        cmp ebp, [kernel_end]
        jbe .load
        mov [kernel_end], ebp
.load:  mov dword [target], KERNEL_HIGH
        jmp load_high
.damaged:
        mov si, text_damaged
        jmp fault
.memory:
        mov si, text_memory
        jmp fault
.fail:  ret

; load_initrd reads the initrd as high as the kernel allows: memory that the
; kernel unpacks itself into lies below.
load_initrd:
        mov word [file_name], text_initrd
        mov bx, [slot]
        mov dword [target], 0
        mov eax, [bx+SLOT_INI_BYTES]
        test eax, eax
        jz .none
        mov ecx, [bx+SLOT_INI_LBA]
        mov [file_lba], ecx
        mov ecx, [bx+SLOT_INI_LBA+4]
        mov [file_lba+4], ecx
        add eax, 511
        jc .memory
        shr eax, 9
        mov [file_sectors], eax
        mov ecx, eax
        shl ecx, 9              ; whole sectors are written
        mov ebx, [kernel_end]
        mov ebp, [fs:INITRD_MAX]
        inc ebp                 ; it is the last address, not the end
        jnz .place
        dec ebp
.place: call find_top
        jc .memory
        mov [target], edi
        mov [fs:RAMDISK_IMAGE], edi
        call load_high
        jc .fail
        mov bx, [slot]
        mov eax, [bx+SLOT_INI_BYTES]
        mov [fs:RAMDISK_SIZE], eax
.none:  clc
.fail:  ret
.memory:
        mov si, text_memory
        jmp fault

; enter_kernel fills in the loader's fields and jumps (boot.rst, "Running the
; kernel").
enter_kernel:
        mov byte [fs:TYPE_OF_LOADER], 0xFF      ; no number assigned
        or byte [fs:LOADFLAGS], CAN_USE_HEAP
        mov word [fs:HEAP_END_PTR], KERNEL_HEAP_END-0x200
        mov word [fs:VID_MODE], 0xFFFF          ; leave the screen as it is
        mov dword [fs:CMD_LINE_PTR], KERNEL_CMD

        push KERNEL >> 4
        pop es
        mov si, COMMAND_LINE
        mov di, KERNEL_HEAP_END
        mov cx, 2048/2
        rep movsw

        cli
        mov ax, KERNEL >> 4
        mov ds, ax
        mov es, ax
        mov gs, ax
        mov ss, ax              ; FS is already
        mov esp, KERNEL_HEAP_END
        jmp (KERNEL >> 4)+0x20:0

text_command    db "command line", 0
text_kernel     db "kernel", 0
text_initrd     db "initrd", 0
text_long       db ": the command line is longer than the kernel takes", 0
text_no_kernel  db ": not a Linux kernel", 0
text_old_kernel db ": too old, Linux 2.6.31 is the first that works", 0
text_memory     db ": this machine has too little memory for it", 0

kernel_end dd 0                 ; lowest address for the initrd
