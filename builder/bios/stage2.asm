; stage2.asm: weft's boot loader for legacy BIOS.
;
; Stage 1 loads it to 0000:8000 and jumps to its first byte with the BIOS
; drive number in DL. It reads the slot record, chooses a slot, counts the
; try, loads kernel, command line and initrd by sector number, and enters the
; kernel by its 16-bit entry point, as Documentation/arch/x86/boot.rst of the
; kernel describes (cited as [boot.rst]). What cannot be loaded is named, with
; sector and BIOS status, and the other slot is tried.
;
; Registers: DS, ES and SS are 0 everywhere and FS is the segment of KERNEL,
; except where said. Every routine may change every other register, except
; where it says what it keeps. A set carry flag means failure, and the reason
; has been printed.

%include "layout.asm"

        cpu 386
        bits 16
        org STAGE2

        jmp short start
        nop
        nop
        db "WEFT"               ; stage 1 looks for this mark

start:  cli
        cld
        xor ax, ax
        mov ss, ax
        mov esp, STACK          ; the high half too: see copy_high
        call own_segments
        sti
        mov [drive], dl
        mov eax, [STAGE1+HOME_LBA]
        mov [home], eax
        mov eax, [STAGE1+HOME_LBA+4]
        mov [home+4], eax

        call serial_start
        call enable_a20
        jc give_up
        call read_memory_map
        jc give_up
        call read_record
        jc give_up

        ; Try one slot after the other until one takes over. A slot that
        ; fails is marked, so the loop ends.
.next:  call choose
        jc .none
        call count_try
        call boot_slot          ; returns only when it failed
        mov ax, [slot]
        xchg ax, [failed]
        mov [failed+2], ax
        jmp .next
.none:  mov si, text_none
        call print_line

; give_up says what a person can do, then starts over after a key or 30
; seconds: a node that nobody looks at may have met a disk that was slow.
give_up:
        mov si, text_give_up
        call print_line
        mov cx, 546             ; 30 s of the BIOS clock, 18.2 a second
        mov eax, [0x46C]        ; ticks since midnight [BIOS data area]
.wait:  sti
        hlt
        push cx
        push eax
        mov ah, 1               ; int 16h AH=01h: is there a key?
        int 0x16
        pop eax
        pop cx
        jnz restart
        cmp eax, [0x46C]
        je .wait
        mov eax, [0x46C]
        loop .wait

restart:
        mov word [0x472], 0x1234        ; skip the memory test
        mov al, 0xFE                    ; pulse the reset line
        out 0x64, al
        jmp 0xFFFF:0                    ; and where there is none, the vector

%include "print.asm"
%include "disk.asm"
%include "record.asm"
%include "memory.asm"
%include "linux.asm"

text_none    db "no slot on this disk can be booted", 0
text_give_up db "write the image again, or start by UEFI; "
             db "trying again in 30 s, or now by any key", 0

drive   db 0
        align 8, db 0
home    dq 0                    ; first sector of stage 2, and of its partition

        ; Whole sectors, ending in the second mark that stage 1 looks for.
        times 508-(($-$$) % 512) db 0
        db "TFEW"
%if ($-$$) > STAGE2_MAX*512
%error "stage 2 does not fit its sectors"
%endif
