; disk.asm: sectors in and out, by int 13h extended calls (EDD).

; A read takes at most this many sectors: 60 KiB. The EDD limit is 127, and a
; multiple of 8 keeps reads aligned on disks with 4 KiB physical sectors.
CHUNK   equ 120

; read_sectors reads CX sectors from sector [file_lba] into linear address EDI,
; below 1 MiB and within one 64 KiB segment from a 16-byte boundary.
; Keeps EDI. Failure is printed.
read_sectors:
        mov ax, 0x4200          ; int 13h AH=42h: extended read
        call disk_call
        jnc .done
        push ax
        mov si, text_read
        call begin_fault
        pop ax
        jmp end_fault
.done:  ret

; write_sector writes one sector at linear address EDI to [file_lba].
write_sector:
        mov cx, 1
        mov ax, 0x4300          ; int 13h AH=43h AL=00h: extended write

; disk_call makes the call AX, three times when it must. CX, EDI and
; [file_lba] as above. Keeps EDI. Failure leaves the BIOS status in AH and
; prints nothing.
disk_call:
        mov bp, 3
        mov [packet.count], cx
.again: push ax
        push cx
        push edi
        push bp
        mov [packet.count], cx  ; a failed call leaves its own number here
        mov edx, edi
        shr edx, 4
        mov [packet.segment], dx
        and di, 15
        mov [packet.offset], di
        mov edx, [file_lba]
        mov [packet.lba], edx
        mov edx, [file_lba+4]
        mov [packet.lba+4], edx
        mov si, packet
        mov dl, [drive]
        int 0x13
        call own_segments
        pop bp
        pop edi
        pop cx
        jnc .done
        mov [.status], ah
        pushad
        xor ah, ah              ; int 13h AH=00h: reset the drive
        mov dl, [drive]
        int 0x13
        call own_segments
        popad
        pop ax
        dec bp
        jnz .again
        mov ah, [.status]
        stc
        ret
.done:  pop ax
        clc
        ret
.status db 0

; own_segments sets DS, ES and FS after a BIOS call, which may have changed
; them. Keeps flags and all other registers.
own_segments:
        push 0
        pop ds
        push 0
        pop es
        push KERNEL >> 4
        pop fs
        ret

; load_high reads [file_sectors] sectors from [file_lba] to linear address
; [target], above 1 MiB.
load_high:
.chunk: mov ecx, [file_sectors]
        jecxz .done
        cmp ecx, CHUNK
        jbe .read
        mov cx, CHUNK
.read:  movzx ecx, cx
        push ecx
        mov edi, BUFFER
        call read_sectors
        pop ecx
        jc .fail
        sub [file_sectors], ecx
        add [file_lba], ecx
        adc dword [file_lba+4], 0
        shl ecx, 9
        mov edi, [target]
        add [target], ecx
        call copy_high
        jmp .chunk
.done:  clc
.fail:  ret

; begin_fault starts a line with what is being loaded and the text at SI;
; end_fault adds sector and BIOS status, sends it and sets the carry flag.
begin_fault:
        push si
        call begin_line
        mov si, [file_slot]
        call print
        mov si, [file_name]
        call print
        pop si
        jmp print
end_fault:
        push ax
        mov eax, [file_lba]
        mov edx, [file_lba+4]
        call print_number
        mov si, text_status
        call print
        pop ax
        mov al, ah
        call print_hex
        mov si, text_close
        call print
        call end_line
        stc
        ret

; fault prints what is being loaded and the text at SI, as a line, and sets
; the carry flag.
fault:  call begin_fault
        call end_line
        stc
        ret

text_read   db ": cannot read the disk at or after sector ", 0
text_status db " (BIOS status ", 0
text_close  db ")", 0

        align 8, db 0
file_lba     dq 0               ; the next sector to read
file_sectors dd 0               ; how many are left
target       dd 0               ; where they go
file_slot    dw 0               ; "slot a: ", or nothing
file_name    dw 0               ; "kernel"

        align 4, db 0
packet: db 16, 0                ; EDD: size of the packet, reserved
.count   dw 0
.offset  dw 0
.segment dw 0
.lba     dq 0
