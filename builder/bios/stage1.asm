; stage1.asm: the code in the disk's first sector.
;
; It has one task: to read stage 2 from the sectors that the builder wrote
; into it, and to say why when it cannot. It fills the 440 bytes that a
; protective MBR leaves to code [UEFI 2.10, table 5.1]; the disk signature,
; the partition entry and the mark 0x55AA after it belong to the table.
;
; BIOS calls are cited by interrupt and AH. The extended disk calls (EDD) are
; from "BIOS Enhanced Disk Drive Specification", Phoenix, 3.0.

%include "layout.asm"

        cpu 386
        bits 16
        org STAGE1

        jmp short start
        nop
        ; Some BIOSes take the sector of a USB stick for that of a floppy and
        ; write a parameter block over bytes 3..89. No code lives there.
        times 0x5A-($-$$) db 0

start:  cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        sti
        jmp 0:.here             ; some BIOSes start us at 07C0:0000
.here:
        ; The BIOS passes its drive number in DL; one below 0x80 is a floppy,
        ; which a disk of ours is not, whatever the BIOS takes it for.
        test dl, 0x80
        jnz .drive
        mov dl, 0x80
.drive: mov [drive], dl

        ; Int 13h AH=41h: are there extended calls? CX bit 0: AH=42h is.
        mov ah, 0x41
        mov bx, 0x55AA
        int 0x13
        mov si, no_edd
        jc fail
        cmp bx, 0xAA55
        jne fail
        test cl, 1
        jz fail

        mov bp, 3               ; every read is worth three attempts
.read:  mov eax, [home_lba]
        mov [packet.lba], eax
        mov eax, [home_lba+4]
        mov [packet.lba+4], eax
        mov ax, [home_sectors]
        mov [packet.count], ax  ; a failed call leaves its own number here
        mov si, packet
        mov dl, [drive]
        mov ah, 0x42            ; int 13h AH=42h: extended read
        int 0x13
        jnc .check
        xor ah, ah              ; int 13h AH=00h: reset the drive
        mov dl, [drive]
        int 0x13
        dec bp
        jnz .read
        mov si, no_read
        jmp fail

        ; Stage 2 carries a mark at either end: the wrong sectors, or only
        ; some of the right ones, must not run.
.check: mov si, no_stage2
        cmp dword [STAGE2+4], 'WEFT'
        jne fail
        mov bx, [home_sectors]
        shl bx, 9
        cmp dword [bx+STAGE2-4], 'TFEW'
        jne fail
        mov dl, [drive]
        jmp 0:STAGE2

; fail prints the text at SI on the screen and the serial port, and stops.
fail:   push si
        mov si, head
        call print
        pop si
        call print
.halt:  hlt
        jmp .halt

print:  lodsb
        test al, al
        jz .done
        push ax
        mov ah, 0x0E            ; int 10h AH=0Eh: print on the screen
        mov bx, 7
        int 0x10
        mov dx, UART+5          ; line status; bit 5: ready for a byte
        mov cx, 0xFFFF
.busy:  in al, dx
        test al, 0x20
        loopz .busy             ; a port that is not there is never waited for
        mov dx, UART
        pop ax
        out dx, al
        jmp print
.done:  ret

head      db 13, 10, "weft: ", 0
no_edd    db "the BIOS lacks EDD, use UEFI", 13, 10, 0
no_read   db "cannot read the disk", 13, 10, 0
no_stage2 db "damaged, write the image again", 13, 10, 0

drive   db 0
packet: db 16, 0                ; EDD: size of the packet, reserved
.count  dw 0
        dw STAGE2, 0            ; to 0000:8000
.lba    dq 0

        times HOME_LBA-($-$$) db 0
home_lba:     dq 0
home_sectors: dw 0
        times CODE_SIZE-($-$$) db 0
