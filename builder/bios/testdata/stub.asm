; stub.asm: a stand-in for a Linux kernel, for the tests of the loader.
;
; It has a kernel's setup header and a kernel's two parts, enters protected
; mode as a kernel does, says over the first serial port what the loader
; handed it, and ends QEMU through its isa-debug-exit device at port 0xF4.
; The test appends bytes to make it as long as a kernel and writes the length
; into the header.

        cpu 386
        bits 16
        org 0

        times 0x1F1-($-$$) db 0
        db 4                    ; 0x1F1 setup_sects
        dw 0                    ; 0x1F2 root_flags
        dd 0                    ; 0x1F4 syssize, by the test
        dw 0, 0, 0              ; 0x1F8 ram_size, vid_mode, root_dev
        dw 0xAA55               ; 0x1FE boot_flag
        jmp short setup         ; 0x200 jump
        db "HdrS"               ; 0x202 header
        dw 0x020F               ; 0x206 version
        dd 0                    ; 0x208 realmode_swtch
        dw 0, 0                 ; 0x20C start_sys_seg, kernel_version
        db 0                    ; 0x210 type_of_loader
        db 1                    ; 0x211 loadflags: LOADED_HIGH
        dw 0                    ; 0x212 setup_move_size
        dd 0x100000             ; 0x214 code32_start
        dd 0, 0                 ; 0x218 ramdisk_image, ramdisk_size
        dd 0                    ; 0x220 bootsect_kludge
        dw 0                    ; 0x224 heap_end_ptr
        db 0, 0                 ; 0x226 ext_loader_ver, ext_loader_type
        dd 0                    ; 0x228 cmd_line_ptr
        dd 0x7FFFFFFF           ; 0x22C initrd_addr_max
        dd 0x200000             ; 0x230 kernel_alignment
        db 1, 21                ; 0x234 relocatable_kernel, min_alignment
        dw 0                    ; 0x236 xloadflags
        dd 2047                 ; 0x238 cmdline_size
        dd 0, 0, 0, 0, 0        ; 0x23C hardware_subarch .. payload_length
        dd 0, 0                 ; 0x250 setup_data
        dq 0x1000000            ; 0x258 pref_address
        dd 0x3000000            ; 0x260 init_size: 48 MiB
        dd 0                    ; 0x264 handover_offset

; The loader enters here with CS 0x20 paragraphs above DS.
setup:  cli
        xor ebx, ebx
        mov bx, ds
        shl ebx, 4              ; linear address of this file's first byte
        lea eax, [ebx+gdt]
        mov [gdt_pointer+2], eax
        lgdt [gdt_pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 0x08:0x100000

        align 8, db 0
gdt:    dq 0
        dw 0xFFFF, 0, 0x9B00, 0x00CF
        dw 0xFFFF, 0, 0x9300, 0x00CF
gdt_pointer:
        dw $-gdt-1
        dd 0
        times 5*512-($-$$) db 0

        section payload vstart=0x100000 follows=.text
        bits 32
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x9000
        mov ebp, ebx            ; the setup header is [ebp+0x1F1] and on

        mov esi, text_command
        call print
        mov esi, [ebp+0x228]
        call print

        mov esi, text_loader
        call print
        movzx eax, byte [ebp+0x210]
        call hex
        movzx eax, byte [ebp+0x211]
        call hex
        movzx eax, word [ebp+0x224]
        call hex

        mov esi, text_kernel
        call print
        mov esi, 0x100000
        mov ecx, [ebp+0x1F4]
        shl ecx, 2
        call sum
        call hex

        mov esi, text_initrd
        call print
        mov eax, [ebp+0x218]
        call hex
        mov eax, [ebp+0x21C]
        call hex
        mov esi, [ebp+0x218]
        mov ecx, [ebp+0x21C]
        add ecx, 3
        shr ecx, 2
        call sum
        call hex
        mov esi, text_end
        call print
        mov al, 0x10            ; QEMU exits with 0x10<<1 | 1
        out 0xF4, al
.halt:  hlt
        jmp .halt

; sum returns in EAX the rotating sum of ECX dwords at ESI.
sum:    xor eax, eax
        jecxz .done
.next:  rol eax, 1
        add eax, [esi]
        add esi, 4
        dec ecx
        jnz .next
.done:  ret

hex:    mov ecx, 8
.next:  rol eax, 4
        push eax
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a'-'0'-10
.put:   call put
        pop eax
        loop .next
        mov al, ' '
put:    push eax
        mov dx, 0x3FD
.busy:  in al, dx
        test al, 0x20
        jz .busy
        pop eax
        mov dx, 0x3F8
        out dx, al
        ret

print:  lodsb
        test al, al
        jz .done
        call put
        jmp print
.done:  ret

text_command db "stub: command line [", 0
text_loader  db "]", 10, "stub: loader ", 0
text_kernel  db 10, "stub: kernel ", 0
text_initrd  db 10, "stub: initrd ", 0
text_end     db 10, 0
