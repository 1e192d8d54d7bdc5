%% echo_erlang.erl: the same in Erlang, as gen_tcp's users write it: a process per connection, {active,100}.
%% erl -run echo_erlang start echo|sink
-module(echo_erlang).
-export([start/1]).

start([Mode]) ->
    Options = case Mode of
                  "echo" -> [{packet, 4}];
                  "sink" -> [{packet, raw}, {exit_on_close, false}]
              end,
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}, {nodelay, true},
                                        {backlog, 1024}, {buffer, 131072} | Options]),
    {ok, Port} = inet:port(Listener),
    io:format("~b~n", [Port]),
    accept(Listener, list_to_atom(Mode)).

accept(Listener, Mode) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> ok end, inet:setopts(Socket, [{active, 100}]), serve(Mode, Socket, 0) end),
    case gen_tcp:controlling_process(Socket, Pid) of
        ok -> ok;
        {error, _} -> gone
    end,
    Pid ! go,
    accept(Listener, Mode).

serve(Mode, Socket, Count) ->
    receive
        {tcp, Socket, Data} when Mode =:= echo ->
            gen_tcp:send(Socket, Data),
            serve(Mode, Socket, Count);
        {tcp, Socket, Data} ->
            serve(Mode, Socket, Count + byte_size(Data));
        {tcp_passive, Socket} ->
            inet:setopts(Socket, [{active, 100}]),
            serve(Mode, Socket, Count);
        {tcp_closed, Socket} when Mode =:= sink ->
            gen_tcp:send(Socket, <<Count:64>>),
            gen_tcp:close(Socket);
        {tcp_closed, Socket} ->
            gen_tcp:close(Socket);
        {tcp_error, Socket, _} ->
            serve(Mode, Socket, Count)
    end.
