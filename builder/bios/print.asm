; print.asm: messages, on the first serial port and on the screen.
;
; A line is gathered first and then sent whole to either: a BIOS that mirrors
; the screen to the serial port would otherwise mix two copies by the letter.

serial_start:
        mov dx, UART+5
        in al, dx
        inc al                  ; 0xFF: nothing there
        jz .none
        mov si, .setup
.next:  lodsw
        test ax, ax
        jz .done
        mov dl, ah
        mov dh, UART >> 8
        out dx, al
        jmp .next
.done:  mov byte [serial], 1
.none:  ret

        ; 16550: 115200 baud, 8N1, no interrupts, FIFO on, DTR and RTS.
.setup  db 0x80, (UART+3) & 0xFF        ; divisor latch
        db 0x01, (UART+0) & 0xFF
        db 0x00, (UART+1) & 0xFF
        db 0x03, (UART+3) & 0xFF        ; 8 bits, no parity, 1 stop bit
        db 0x00, (UART+1) & 0xFF
        db 0x07, (UART+2) & 0xFF
        db 0x03, (UART+4) & 0xFF
        dw 0

; print_line prints "weft: ", the text at SI, and ends the line.
print_line:
        push si
        call begin_line
        pop si
        call print
        jmp end_line

; begin_line starts a line; print adds the text at SI to it.
begin_line:
        mov word [line_end], line
        mov si, .head
        jmp print
.head   db "weft: ", 0

print:  lodsb
        test al, al
        jz .done
        call print_char
        jmp print
.done:  ret

; print_char adds AL to the line. Keeps all registers.
print_char:
        push bx
        mov bx, [line_end]
        cmp bx, line+LINE_MAX
        jae .full
        mov [bx], al
        inc word [line_end]
.full:  pop bx
        ret

; print_number adds EDX:EAX to the line, in decimal.
print_number:
        xor cx, cx
        mov esi, 10
.digit: mov ebx, eax
        mov eax, edx
        xor edx, edx
        div esi                 ; high half / 10
        xchg eax, ebx
        div esi                 ; (rest, low half) / 10
        push dx
        inc cx
        mov edx, ebx
        or ebx, eax
        jnz .digit
.print: pop ax
        add al, '0'
        call print_char
        loop .print
        ret

; print_hex adds AL to the line, as two hexadecimal digits.
print_hex:
        push ax
        shr al, 4
        call .digit
        pop ax
        and al, 15
.digit: cmp al, 10
        jb .print
        add al, 'A'-'0'-10
.print: add al, '0'
        jmp print_char

; end_line sends the line out.
end_line:
        mov si, .crlf
        call print
        cmp byte [serial], 0
        je .screen
        mov si, line
.send:  cmp si, [line_end]
        je .screen
        mov cx, 0xFFFF
        mov dx, UART+5          ; line status; bit 5: ready for a byte
.busy:  in al, dx
        test al, 0x20
        loopz .busy
        mov dx, UART
        lodsb
        out dx, al
        jmp .send
.screen:
        mov si, line
.show:  cmp si, [line_end]
        je .done
        lodsb
        push si
        mov ah, 0x0E            ; int 10h AH=0Eh: print on the screen
        mov bx, 7
        int 0x10
        pop si
        jmp .show
.done:  ret
.crlf   db 13, 10, 0

LINE_MAX equ 160
line_end dw line
serial   db 0
line     times LINE_MAX+2 db 0
