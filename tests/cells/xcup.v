// What Yosys has no model of: the DSP of UltraScale+ as xilinx/xcu_dsp_map.v uses it, a multiplier alone.
//
// With these parameters only, and any other value of them refused, so that no other use passes for this one.
// AMD's UG579: the product of A[26:0] and B with sign, OPMODE 5 and ALUMODE 0 give it to P.
module DSP48E2 (
    input signed [29:0] A, input signed [17:0] B, input [47:0] C, input [26:0] D,
    input [4:0] INMODE, input [3:0] ALUMODE, input [8:0] OPMODE, input [2:0] CARRYINSEL,
    input [29:0] ACIN, input [17:0] BCIN, input [47:0] PCIN, input CARRYIN,
    output [47:0] P
);
    parameter integer ACASCREG = 0, ADREG = 0, ALUMODEREG = 0, AREG = 0, BCASCREG = 0, BREG = 0;
    parameter integer CARRYINREG = 0, CARRYINSELREG = 0, CREG = 0, DREG = 0, INMODEREG = 0, MREG = 0;
    parameter integer OPMODEREG = 0, PREG = 0;
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48";
    parameter AMULTSEL = "A", BMULTSEL = "B";

    wire signed [26:0] a = A[26:0];
    wire signed [47:0] product = a * B;
    generate
        if (ACASCREG || ADREG || ALUMODEREG || AREG || BCASCREG || BREG || CARRYINREG || CARRYINSELREG || CREG ||
            DREG || INMODEREG || MREG || OPMODEREG || PREG || A_INPUT != "DIRECT" || B_INPUT != "DIRECT" ||
            USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48" || AMULTSEL != "A" || BMULTSEL != "B")
            no_such_use_of_DSP48E2 refused ();
    endgenerate
    assign P = OPMODE == 9'b101 && ALUMODE == 0 && INMODE == 0 && CARRYINSEL == 0 ? product : 48'bx;
endmodule
