; A guest of one sector that finds out whether an accelerator can run a real
; kernel. It does in half a second what a kernel does in its first seconds and
; what half-working accelerators get wrong: protected mode, paging, long mode,
; CPUID, model-specific registers, a timer interrupt, an instruction of a late
; extension (BMI2) in kernel mode, and enough plain work to show an accelerator
; that emulates kernel code instead of running it.
;
; It writes "weft" to the first serial port and ends QEMU through
; isa-debug-exit with the value 0x2a, so QEMU's exit status is 0x2a*2+1 = 85.
; Any fault is a triple fault; run with -no-reboot that ends QEMU with status 0.
;
; nasm -f bin -o amd64.bin amd64.asm; a test holds amd64.bin to this source.

	bits 16
	org 0x7c00

; Tables live in memory the BIOS left free (below 0x7c00).
PML4	equ 0x1000
PDPT	equ 0x2000
PD	equ 0x3000
IDT	equ 0x4000
STACK	equ 0x7000

start:
	cli
	cld
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, STACK

	; Zero the tables: 0x1000..0x4fff.
	mov di, PML4
	mov cx, 0x4000 / 2
	rep stosw

	; One gigabyte, identity-mapped in pages of 2 MiB (Intel SDM 3A 4.5).
	mov word [PML4], PDPT | 3
	mov word [PDPT], PD | 3
	mov di, PD
	mov eax, 0x83			; present, writable, large
	mov cx, 512
.page:
	mov [di], eax
	add eax, 0x200000
	add di, 8
	loop .page

	; Protected mode first, as kernels do, then long mode.
	lgdt [gdt_pointer]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp 0x08:protected

	bits 32
protected:
	mov ax, 0x18
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov eax, 0x620			; CR4: PAE, OSFXSR, OSXMMEXCPT
	mov cr4, eax
	mov eax, PML4
	mov cr3, eax
	mov ecx, 0xc0000080		; EFER
	rdmsr
	or eax, 0x101			; LME, SCE
	wrmsr
	mov eax, cr0
	and al, 0xfb			; EM off, so SSE works
	or eax, 0x80000002		; PG, MP
	mov cr0, eax
	jmp 0x10:long_mode

	bits 64
long_mode:
	mov esp, STACK
	; GS base through its register and back, as every kernel does per CPU.
	mov ecx, 0xc0000101
	mov eax, 0x1234
	xor edx, edx
	wrmsr
	swapgs
	swapgs
	rdmsr
	cmp eax, 0x1234
	jne fail

	; SSE in kernel mode.
	movq xmm0, rax
	paddq xmm0, xmm0
	movq rax, xmm0
	cmp eax, 0x2468
	jne fail

	; An instruction with a VEX prefix where the CPU claims BMI2: kernels
	; unpack themselves with it (lib/zstd, DYNAMIC_BMI2).
	mov eax, 7
	xor ecx, ecx
	cpuid
	bt ebx, 8
	jnc .timer
	mov eax, 1
	mov edx, 5
	shlx rax, rax, rdx
	cmp eax, 32
	jne fail

.timer:
	; Vector 0x20 is the timer: a 64-bit interrupt gate (SDM 3A 6.14.1).
	mov edi, IDT + 0x20 * 16
	mov eax, tick
	mov [rdi], ax
	mov dword [rdi + 2], 0x8e000010	; selector 0x10, gate
	lidt [idt_pointer]
	mov al, 0x11			; 8259: remap IRQ 0 to 0x20 (ICW1..ICW4)
	out 0x20, al
	mov al, 0x20
	out 0x21, al
	mov al, 4
	out 0x21, al
	mov al, 1
	out 0x21, al
	mov al, 0xfe			; all masked but the timer
	out 0x21, al
	mov al, 0xff
	out 0xa1, al
	mov al, 0x34			; 8254: channel 0, rate generator
	out 0x43, al
	mov al, 0x9c			; 11932 = 100 Hz
	out 0x40, al
	mov al, 0x2e
	out 0x40, al
	xor ebp, ebp
	sti
.wait:
	hlt
	cmp ebp, 3
	jb .wait

	; Fifty million rounds: some 20 ms on a CPU, seconds when emulated.
	mov ecx, 50000000
.work:
	dec ecx
	jnz .work
	cli

	mov esi, text
.print:
	lodsb
	mov edx, 0x3f8
	out dx, al
	cmp al, 10
	jne .print
	mov al, 0x2a
	out 0xf4, al
	hlt

fail:
	ud2				; no gate for it: triple fault

tick:
	inc ebp
	push rax
	mov al, 0x20
	out 0x20, al
	pop rax
	iretq

text:	db "weft", 10

	align 8
gdt:
	dq 0
	dq 0x00cf9b000000ffff		; 0x08: 32-bit code
	dq 0x00af9b000000ffff		; 0x10: 64-bit code
	dq 0x00cf93000000ffff		; 0x18: data
gdt_pointer:
	dw $ - gdt - 1
	dd gdt
idt_pointer:
	dw 0x21 * 16 - 1
	dq IDT

	times 510 - ($ - $$) db 0
	dw 0xaa55
