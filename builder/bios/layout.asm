; layout.asm: where things are, on the disk and in memory.
;
; Stage 1 and stage 2 both include this file; it holds no code.

; On the disk, in sectors from the start of the BIOS boot partition. Package
; slot states the same offsets in bytes (slot/partition.go).
RECORD1_SECTOR  equ 64
RECORD2_SECTOR  equ 72

; In the slot record (slot/record.go).
REC_VERSION     equ 8
REC_SEQUENCE    equ 12
REC_SLOT_A      equ 32
REC_SLOT_B      equ 96
REC_CRC         equ 508
VERSION         equ 1

; In a slot of the record.
SLOT_FLAGS      equ 0
SLOT_PRIORITY   equ 1
SLOT_LEFT       equ 2
SLOT_DONE       equ 3
SLOT_CMD_BYTES  equ 4
SLOT_CMD_LBA    equ 8
SLOT_CMD_CRC    equ 16
SLOT_KRN_BYTES  equ 20
SLOT_KRN_LBA    equ 24
SLOT_INI_LBA    equ 32
SLOT_INI_BYTES  equ 40
PRESENT         equ 1
GOOD            equ 2

; In memory below 1 MiB. The BIOS keeps its own data below 0x600 and above
; 0x80000 at the earliest.
RECORD          equ 0x0600      ; the slot record in force, 512 bytes
RECORD_TRY      equ 0x0800      ; a copy being looked at, 512 bytes
MEMORY_MAP      equ 0x1000      ; what E820 told, 20 bytes an entry
MEMORY_MAP_END  equ 0x2000
COMMAND_LINE    equ 0x2000      ; the command line as read, 4 sectors
STACK           equ 0x7C00      ; grows down
STAGE1          equ 0x7C00
STAGE2          equ 0x8000
STAGE2_MAX      equ 64          ; sectors: 0x8000..0xFFFF
BUFFER          equ 0x10000     ; disk reads land here; one whole 64 KiB
                                ; segment, so no read crosses a DMA boundary
KERNEL          equ 0x20000     ; the kernel's real mode part, then its heap
                                ; and stack up to KERNEL_HEAP_END
KERNEL_HEAP_END equ 0xE000      ; boot.rst, "The Kernel Command Line"
KERNEL_CMD      equ KERNEL + KERNEL_HEAP_END
KERNEL_HIGH     equ 0x100000    ; where the protected mode part goes

; Stage 1 keeps these at the end of its code. The builder writes them
; (bios.go) and stage 2 reads the first.
HOME_LBA        equ 428         ; 8 bytes: first sector of stage 2
HOME_SECTORS    equ 436         ; 2 bytes: how many sectors stage 2 has
CODE_SIZE       equ 440         ; the disk signature begins here [UEFI 5.2.1]

; Serial port: COM1, where PCs and virtual machines have their console.
UART            equ 0x3F8
