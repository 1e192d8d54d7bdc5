%% A real Erlang node that the scripts ei_* steer: each line of its standard input is an expression; "= Value" or "! Reason" comes back.
-module(ei_peer).
-export([main/0, port/1, connect/1, hidden/0, await_up/2, await_down/2, echo/3, sizes/3, sequence/3, echoes/3, flood/4, flooded/2,
         reverse/1]).

main() ->
    register(mirror, spawn(fun mirror/0)),
    io:format("= ready~n"),
    lines().

lines() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            io:format("~s~n", [evaluate(Line)]),
            lines();
        _ ->
            halt(0)
    end.

evaluate(Line) ->
    try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Exprs} = erl_parse:parse_exprs(Tokens),
        {value, V, _} = erl_eval:exprs(Exprs, []),
        io_lib:format("= ~0tp", [V])
    catch
        _:Reason -> io_lib:format("! ~0tp", [Reason])
    end.

%% Sends back what C nodes send.
mirror() ->
    receive
        {Pid, Bytes} -> Pid ! Bytes
    end,
    mirror().

reverse(L) -> lists:reverse(L).

hidden() -> nodes(hidden).

%% Where the distribution of this node listens, as epmd says.
port(Alive) ->
    {port, Port, _} = erl_epmd:port_please(Alive, "localhost"),
    Port.

connect(Node) -> net_kernel:connect_node(Node).

echo(Node, Name, Term) ->
    Ref = make_ref(),
    {Name, Node} ! {echo, self(), {Ref, Term}},
    receive
        {Ref, Back} -> Back =:= Term
    after 120000 -> timeout
    end.

%% Binaries of these sizes there and back; those that came back otherwise.
sizes(Node, Name, Sizes) ->
    [{N, R} || N <- Sizes, R <- [echo(Node, Name, bytes(N))], R =/= true].

bytes(N) when N =< 1048576 -> rand:bytes(N);
bytes(N) ->
    Part = rand:bytes(1048573),
    binary:part(binary:copy(Part, N div 1048573 + 1), 0, N).

%% Count messages, which the C node must see in order.
sequence(Node, Name, Count) ->
    [{Name, Node} ! {seq, self(), I, Count} || I <- lists:seq(0, Count - 1)],
    receive
        {seq, Count, Wrong} -> Wrong
    after 120000 -> timeout
    end.

%% Count echoes of Size, all on their way at once; how many came back in order.
echoes(Node, Name, {Count, Size}) ->
    Bytes = bytes(Size),
    Self = self(),
    [{Name, Node} ! {echo, Self, {I, Bytes}} || I <- lists:seq(1, Count)],
    came(1, Count, Bytes).

came(I, Count, _) when I > Count -> Count;
came(I, Count, Bytes) ->
    receive
        {I, Bytes} -> came(I + 1, Count, Bytes)
    after 30000 -> {stuck, I}
    end.

%% A process of this name that takes what `flood` of a C node sends: in order for each of its threads, every byte right.
flood(Name, Threads, Count, Size) ->
    Self = self(),
    register(Name, spawn(fun() -> Self ! {Name, (catch take(Threads * Count, Size, #{}))} end)),
    started.

take(0, _, Seen) -> lists:sort(maps:to_list(Seen));
take(Left, Size, Seen) ->
    receive
        {T, I, Bin} ->
            I = maps:get(T, Seen, 0),
            Bin = binary:copy(<<(T * 31 + I)>>, Size),
            take(Left - 1, Size, Seen#{T => I + 1})
    after 60000 -> {missing, Left, Seen}
    end.

%% What that process says in the end: how many came from each thread.
flooded(Name, Ms) ->
    receive
        {Name, Seen} -> Seen
    after Ms -> timeout
    end.

await_up(Node, Ms) -> await(fun() -> lists:member(Node, nodes(hidden)) end, Ms).
await_down(Node, Ms) -> await(fun() -> not lists:member(Node, nodes(hidden)) end, Ms).

await(Fun, Ms) ->
    case Fun() of
        true -> true;
        false when Ms =< 0 -> false;
        false -> timer:sleep(10), await(Fun, Ms - 10)
    end.
