// Stands before a design whose top is called `inner`, and does to its streams what +fault=N says.
module top #(parameter BITS = 8) (
  input clk, input rst,
  input [BITS-1:0] s_axis_tdata, input s_axis_tvalid, input s_axis_tlast, output s_axis_tready,
  output [7:0] m_axis_tdata, output m_axis_tvalid, output m_axis_tlast, input m_axis_tready,
  output frame_error
);
  integer fault;
  initial if (!$value$plusargs("fault=%d", fault)) fault = 0;

  wire [7:0] data;
  wire valid, last, ready, error;
  reg waited, was_reset, stalled, repeated;
  reg [15:0] sent, received; // beats since the reset

  // Towards the network: a beat that is lost, or stands still for a cycle.
  wire lost = fault == 9 & sent == 3;
  wire stall = fault == 12 & sent == 7 & ~stalled;
  assign s_axis_tready = ~stall & (ready | lost);

  // From it: valid that drops, or waits for ready, or is there after a reset, or never comes again.
  wire again = fault == 10 & received == 2 & ~repeated;
  assign m_axis_tvalid = fault == 1 ? valid & ~waited
                       : fault == 11 ? valid & m_axis_tready
                       : fault == 13 ? valid | was_reset
                       : fault == 14 ? valid & received < 3
                       : valid;
  wire take = m_axis_tready & m_axis_tvalid & ~again;
  assign m_axis_tdata = fault == 2 ? data ^ {7'h0, waited}
                      : fault == 4 ? data ^ {7'h0, received == 5}
                      : data;
  assign m_axis_tlast = fault == 3 ? last ^ waited
                      : fault == 5 ? last & received < 4
                      : fault == 6 ? last | received == 1
                      : last;
  assign frame_error = fault == 7 ? 1'b0
                     : fault == 8 ? error | (sent == 2 & s_axis_tvalid & s_axis_tready)
                     : error;

  always @(posedge clk) begin
    was_reset <= rst;
    waited <= valid & ~m_axis_tready & ~waited;
    if (s_axis_tvalid & s_axis_tready) sent <= sent + 1;
    if (stall) stalled <= 1;
    if (m_axis_tvalid & m_axis_tready) begin
      received <= received + 1;
      if (again) repeated <= 1;
    end
    if (rst) begin
      sent <= 0; received <= 0; waited <= 0; stalled <= 0; repeated <= 0;
    end
  end

  inner inner (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid & ~stall & ~lost), .s_axis_tlast(s_axis_tlast),
    .s_axis_tready(ready),
    .m_axis_tdata(data), .m_axis_tvalid(valid), .m_axis_tlast(last), .m_axis_tready(take),
    .frame_error(error)
  );
endmodule
