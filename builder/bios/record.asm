; record.asm: the slot record, and which slot it asks for.

; read_record reads both copies and keeps the newer sound one in RECORD.
; [copy] says which it was. Keeps the decision of slot/partition.go, load.
read_record:
        mov word [file_slot], text_nothing
        mov byte [copy], 0
        mov word [file_name], text_copy1
        mov eax, RECORD1_SECTOR
        mov bl, 1
        call .look
        mov word [file_name], text_copy2
        mov eax, RECORD2_SECTOR
        mov bl, 2
        call .look
        cmp byte [copy], 1      ; carry when it is 0
        ret

; .look reads copy BL at sector EAX of the partition.
.look:  push bx
        call record_lba
        mov edi, RECORD_TRY
        mov cx, 1
        call read_sectors
        pop bx
        jc .done
        mov si, RECORD_TRY
        cmp dword [si], 'WEFT'
        jne .damaged
        cmp dword [si+4], 'SLOT'
        jne .damaged
        cmp dword [si+REC_VERSION], VERSION
        jne .damaged
        mov cx, REC_CRC
        call crc32
        cmp eax, [RECORD_TRY+REC_CRC]
        jne .damaged
        mov eax, [RECORD_TRY+REC_SEQUENCE]
        cmp byte [copy], 0
        je .take
        cmp eax, [RECORD+REC_SEQUENCE]
        jbe .done
.take:  mov [copy], bl
        mov si, RECORD_TRY
        mov di, RECORD
        mov cx, 256
        rep movsw
.done:  ret
.damaged:
        mov si, text_damaged
        jmp fault

; record_lba sets [file_lba] to sector EAX of the partition.
record_lba:
        xor edx, edx
        add eax, [home]
        adc edx, [home+4]
        mov [file_lba], eax
        mov [file_lba+4], edx
        ret

; choose puts the slot to boot into [slot], or sets the carry flag when none
; is left. It is Record.Order of slot/choose.go, one slot at a time.
choose:
        mov bx, RECORD+REC_SLOT_A
        call rank
        mov dx, ax
        mov bx, RECORD+REC_SLOT_B
        call rank
        cmp dx, ax
        jb .take                ; b only where it ranks higher
        mov bx, RECORD+REC_SLOT_A
        mov ax, dx
.take:  mov [slot], bx
        mov si, text_slot_a
        cmp bx, RECORD+REC_SLOT_A
        je .name
        mov si, text_slot_b
.name:  mov [file_slot], si
        cmp ax, 1               ; carry when the rank is 0
        ret

; rank returns in AX how much slot BX is preferred: 0x400 it is there, 0x200
; it is good or has tries left, then its priority, then 1 for good. 0 when it
; is not there or has failed.
rank:
        xor ax, ax
        cmp bx, [failed]
        je .done
        cmp bx, [failed+2]
        je .done
        test byte [bx+SLOT_FLAGS], PRESENT
        jz .done
        movzx ax, byte [bx+SLOT_PRIORITY]
        shl ax, 1
        or ax, 0x400
        test byte [bx+SLOT_FLAGS], GOOD
        jnz .good
        cmp byte [bx+SLOT_LEFT], 0
        je .done
        or ax, 0x200
        ret
.good:  or ax, 0x201
.done:  ret

; count_try says which slot is booted, and writes the record with one try less
; when the slot has still to prove itself. The write goes over the copy that
; is not in force, so a power cut leaves a sound one. A disk that takes no
; write is booted all the same.
count_try:
        call begin_line
        mov si, text_booting
        call print
        mov si, [file_slot]
        mov al, [si+5]          ; the letter in "slot a: "
        call print_char
        mov bx, [slot]
        test byte [bx+SLOT_FLAGS], GOOD
        jnz end_line
        mov si, text_no_tries
        cmp byte [bx+SLOT_LEFT], 0
        je .say
        dec byte [bx+SLOT_LEFT]
        inc byte [bx+SLOT_DONE]
        jnz .left
        dec byte [bx+SLOT_DONE] ; stay at 255
.left:  mov si, text_tries
        call print
        mov bx, [slot]
        movzx eax, byte [bx+SLOT_LEFT]
        xor edx, edx
        call print_number
        call end_line

        inc dword [RECORD+REC_SEQUENCE]
        mov si, RECORD
        mov cx, REC_CRC
        call crc32
        mov [RECORD+REC_CRC], eax
        xor byte [copy], 3      ; 1 and 2 change places
        mov eax, RECORD1_SECTOR
        cmp byte [copy], 1
        je .write
        mov eax, RECORD2_SECTOR
.write: call record_lba
        mov edi, RECORD
        call write_sector
        jnc .done
        push ax
        mov word [file_name], text_record
        mov si, text_write
        call begin_fault
        pop ax
        jmp end_fault
.done:  ret
.say:   call print
        jmp end_line

; crc32 returns in EAX the CRC-32 (IEEE 802.3) of CX bytes at SI; CX is not 0.
; A few hundred bytes need no table.
crc32:
        mov eax, -1
.byte:  xor al, [si]
        inc si
        mov dl, 8
.bit:   shr eax, 1
        jnc .even
        xor eax, 0xEDB88320
.even:  dec dl
        jnz .bit
        loop .byte
        not eax
        ret

text_nothing  db 0
text_copy1    db "slot record, copy 1", 0
text_copy2    db "slot record, copy 2", 0
text_record   db "slot record", 0
text_damaged  db ": damaged", 0
text_write    db ": cannot count this try, booting all the same: cannot write sector ", 0
text_slot_a   db "slot a: ", 0
text_slot_b   db "slot b: ", 0
text_booting  db "booting slot ", 0
text_tries    db ", tries left: ", 0
text_no_tries db ", no tries left but nothing better", 0

slot    dw 0                    ; the slot being booted, in RECORD
failed  dw 0, 0                 ; slots that could not be loaded
copy    db 0                    ; which copy is in force: 1 or 2, 0 for none
