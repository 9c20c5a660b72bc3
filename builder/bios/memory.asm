; memory.asm: the A20 line, the memory map, and memory above 1 MiB.

; enable_a20 makes bit 20 of addresses count. Most machines have it so
; already; the rest are asked in the order of least harm.
enable_a20:
        call .test
        jnz .done
        mov ax, 0x2401          ; int 15h AX=2401h: enable A20
        int 0x15
        call own_segments
        call .test
        jnz .done
        in al, 0x92             ; system control port A; bit 0 is reset
        or al, 2
        and al, 0xFE
        out 0x92, al
        mov cx, 0xFFFF
.wait:  call .test
        jnz .done
        loop .wait
        mov si, text_a20
        call print_line
        stc
        ret
.done:  clc
        ret

; .test clears the zero flag when 0000:0500 and FFFF:0510, 1 MiB apart, are
; two different bytes. 0x500 is free for use [BIOS data area].
.test:  push 0xFFFF
        pop gs
        mov al, [gs:0x510]
        not al
        mov [0x500], al
        cmp al, [gs:0x510]
        ret

; read_memory_map asks the BIOS for the memory map, int 15h AX=E820h
; [ACPI 6.5, section 15.1]. It keeps 20 bytes an entry: base, length, type.
read_memory_map:
        xor ebx, ebx
        mov di, MEMORY_MAP
.next:  mov eax, 0xE820
        mov edx, 0x534D4150     ; "SMAP"
        mov ecx, 20
        int 0x15
        call own_segments
        jc .end                 ; some say so only after the last entry
        cmp eax, 0x534D4150
        jne .end
        add di, 20
        cmp di, MEMORY_MAP_END-20
        ja .end
        test ebx, ebx
        jnz .next
.end:   mov [map_end], di
        cmp di, MEMORY_MAP
        clc
        jne .done
        mov si, text_map
        call print_line
        stc
.done:  ret

; ram_entry looks at the map entry at SI: EAX is the first byte and EDX the
; end of its memory, cut off below 4 GiB. Carry when it is no usable memory.
; Keeps all other registers.
ram_entry:
        cmp dword [si+16], 1    ; type 1: usable
        jne .no
        cmp dword [si+4], 0     ; begins above 4 GiB
        jne .no
        mov eax, [si]
        mov edx, [si+8]
        add edx, eax
        jc .cut
        cmp dword [si+12], 0
        je .yes
.cut:   mov edx, 0xFFFFF000
.yes:   clc
        ret
.no:    stc
        ret

; need_ram checks that EBX..EBP is usable memory of one map entry. Carry, and
; nothing printed, when it is not.
need_ram:
        mov si, MEMORY_MAP
.next:  cmp si, [map_end]
        je .no
        call ram_entry
        jc .skip
        cmp ebx, eax
        jb .skip
        cmp ebp, edx
        ja .skip
        clc
        ret
.skip:  add si, 20
        jmp .next
.no:    stc
        ret

; find_top finds the highest place for ECX bytes at or above EBX and at or
; below EBP, on a page boundary. It returns the address in EDI, or carry.
find_top:
        xor edi, edi
        mov si, MEMORY_MAP
.next:  cmp si, [map_end]
        je .end
        call ram_entry
        jc .skip
        cmp edx, ebp            ; end = lower of both ends
        jbe .end_ok
        mov edx, ebp
.end_ok:
        cmp eax, ebx            ; start = higher of both starts
        jae .start_ok
        mov eax, ebx
.start_ok:
        sub edx, ecx
        jb .skip
        and edx, 0xFFFFF000
        cmp edx, eax
        jb .skip
        cmp edx, edi
        jbe .skip
        mov edi, edx
.skip:  add si, 20
        jmp .next
.end:   cmp edi, 1              ; carry when it is 0
        ret

; copy_high copies ECX bytes, a multiple of 4, from BUFFER to linear address
; EDI. It does so in 32-bit protected mode, where the whole of memory is in
; reach, and comes back; the sequence is that of the Intel manual, volume 3A,
; section 10.9.1 and 10.9.2. No interrupt can come in between, and the stack
; stays where it is, since ESP's high half is zero.
copy_high:
        shr ecx, 2
        cli
        lgdt [gdt_pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp GDT_CODE32:.protected
        bits 32
.protected:
        mov ax, GDT_DATA32
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esi, BUFFER
        rep movsd
        jmp GDT_CODE16:.small
        bits 16
.small: mov ax, GDT_DATA16      ; real mode wants 64 KiB limits
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov eax, cr0
        and al, 0xFE
        mov cr0, eax
        jmp 0:.real
.real:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        sti
        ret

; Segment descriptors [Intel volume 3A, section 3.4.5]: limit, base, type.
        align 8, db 0
gdt:    dq 0
GDT_CODE32 equ $-gdt
        dw 0xFFFF, 0, 0x9B00, 0x00CF    ; 4 GiB of code, 32-bit
GDT_DATA32 equ $-gdt
        dw 0xFFFF, 0, 0x9300, 0x00CF    ; 4 GiB of data
GDT_CODE16 equ $-gdt
        dw 0xFFFF, 0, 0x9B00, 0x0000    ; 64 KiB of code, 16-bit
GDT_DATA16 equ $-gdt
        dw 0xFFFF, 0, 0x9300, 0x0000    ; 64 KiB of data
gdt_pointer:
        dw $-gdt-1
        dd gdt

text_a20 db "the memory above 1 MiB cannot be switched on (A20)", 0
text_map db "the BIOS does not tell the memory map (E820)", 0
map_end  dw 0
